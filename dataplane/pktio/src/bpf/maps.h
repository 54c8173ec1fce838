// The maps. All but `sockets`, the caches, those of SYN cookies and the constants are pinned and survive the process.
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "structs.h"

// The layout version of everything below.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} schema SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, INTERFACES_MAX * QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LIST_ENTRIES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct list_key_v4);
	__type(value, struct list_value);
} list_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LIST_ENTRIES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct list_key_v6);
	__type(value, struct list_value);
} list_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct list_index);
} source_index SEC(".maps");

// Not pinned: they hold nothing that is not in the lists.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CACHE_SLOTS);
	__type(key, __u32);
	__type(value, struct cache_v4);
} blocked_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CACHE_SLOTS);
	__type(key, __u32);
	__type(value, struct cache_v6);
} blocked_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LISTENER_SLOTS);
	__type(key, __u32);
	__type(value, struct listener_seen_v4);
} seen_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LISTENER_SLOTS);
	__type(key, __u32);
	__type(value, struct listener_seen_v6);
} seen_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LISTENERS_MAX);
	__type(key, struct listener_key_v4);
	__type(value, __u32);
} listeners_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LISTENERS_MAX);
	__type(key, struct listener_key_v6);
	__type(value, __u32);
} listeners_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_ADDRESSES_MAX);
	__type(key, __be32);
	__type(value, struct local_value);
} locals_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_ADDRESSES_MAX);
	__type(key, struct local_key_v6);
	__type(value, struct local_value);
} locals_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, __u32);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct management);
} management_ports SEC(".maps");

// SYN cookies: a new process begins with none of it. All shared with user space as memory.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cookie_state);
} cookie_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COOKIE_SLOTS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cookie_slot);
} cookie_slots SEC(".maps");

// By slot * COOKIE_CPUS_MAX + core.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COOKIE_SLOTS_MAX * COOKIE_CPUS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cookie_line);
} cookie_counts SEC(".maps");

// Sized before loading.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_BUCKETS_MIN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_buckets SEC(".maps");

// Handshakes just completed: the upper half of the flow's hash, and when. Of one interface; not pinned.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FRESH_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} fresh_handshakes SEC(".maps");

// Set before loading, one program per interface: the verifier treats them as constants.
// First key of this interface in `sockets`.
const volatile __u32 socket_base = 0;
// What happens to our packets without a worker: XDP_PASS or XDP_DROP.
const volatile __u32 unbound_action = XDP_PASS;

// CLOCK_MONOTONIC where the workers' clock is zero: timestamps of both sides agree.
const volatile __u64 clock_base_ns = 0;
// Of the flow table: buckets minus one, and the key of its hash, drawn by each process.
const volatile __u32 flow_bucket_mask = FLOW_BUCKETS_MIN - 1;
const volatile __u64 flow_hash_key[2] = {};

// The index in shared memory; null never, but the verifier asks.
static __always_inline struct list_index *list_index(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&source_index, &key);
}

// Names for Rust: enums are in the type information only when something has their type.
const volatile enum limit limit_names = INTERFACES_MAX;
const volatile enum reason reason_names = PASS_NOT_OURS;
const volatile enum list_action list_action_names = LIST_ALLOW;
const volatile enum index_slot index_slot_names = INDEX_NONE;
const volatile enum cookie_flag cookie_flag_names = COOKIE_ANSWER;
const volatile enum cookie_offer cookie_offer_names = OFFER_WINDOW_SCALE;
