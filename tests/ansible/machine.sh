#!/bin/bash
# A Debian machine for the test: its own systemd as PID 1, in namespaces of its own (mount, PID, UTS, IPC, cgroup), on a
# network namespace that the caller made. The root is an overlay, so the base stays as debootstrap left it.
#
#   machine.sh start <name> <netns> <base> <work> <packages>    prints the PID (as seen from outside) of its systemd
#   machine.sh stop <pid> <work> <name>
#
# What is not the machine's own stays out of its reach: /proc/sys is read-only except for net (which is the network
# namespace's) and vm.nr_hugepages, kernel modules cannot be loaded, device nodes are the seven harmless ones.
set -eu

# cgroup v2, where this machine mounts it: alone, or beside the older hierarchies.
unified() { findmnt -rn -t cgroup2 -o TARGET | head -n1; }

start() {
    name=$1 netns=$2 base=$3 work=$4 packages=$5
    group=$(unified)/secbeat-ansible-$name
    mkdir -p "$work/upper" "$work/scratch" "$work/root" "$group"
    rm -f "$work/pid"
    # The shell below moves itself into the new cgroup first: the cgroup namespace begins where its maker is.
    setsid bash -c "echo \$\$ >'$group/cgroup.procs'
        exec nsenter --net='/run/netns/$netns' \
            unshare --mount --pid --uts --ipc --cgroup --fork --kill-child \
            bash '$0' inside '$name' '$base' '$work' '$packages'" >"$work/console" 2>&1 </dev/null &
    outer=$!
    for _ in $(seq 100); do
        pid=$(pgrep -P "$outer" || true)
        [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = systemd ] && break
        kill -0 "$outer" 2>/dev/null || { cat "$work/console" >&2; return 1; }
        sleep 0.1
    done
    [ -n "$pid" ] || { echo "machine $name did not start" >&2; return 1; }
    echo "$pid"
}

# Runs as PID 1 of the new namespaces and becomes systemd.
inside() {
    name=$1 base=$2 work=$3 packages=$4
    root=$work/root
    mount --make-rprivate /
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/scratch" "$root"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf "$root/sys/fs/bpf"
    mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
    mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"
    for node in "null 3" "zero 5" "full 7" "random 8" "urandom 9" "console 3"; do
        # shellcheck disable=SC2086  # name and number
        set -- $node
        mknod -m 666 "$root/dev/$1" c 1 "$2"
    done
    mknod -m 666 "$root/dev/tty" c 5 0
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    # What belongs to the whole machine is closed; what belongs to this one is opened again above it.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount --bind "$root/proc/sys/vm/nr_hugepages" "$root/proc/sys/vm/nr_hugepages"
    mount -o remount,bind,ro "$root/proc/sys"
    mkdir -p "$root/srv/packages"
    mount --bind "$packages" "$root/srv/packages"
    echo "$name" >"$root/etc/hostname"
    hostname "$name"
    mkdir -p "$root/mnt"
    cd "$root"
    pivot_root . mnt
    exec chroot . /bin/sh -c 'umount -l /mnt; exec env -i container=secbeat-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --log-target=journal --show-status=0' </dev/null
}

stop() {
    pid=$1 work=$2 name=$3
    [ "$pid" -le 1 ] || kill -9 "$pid" 2>/dev/null || true
    group=$(unified)/secbeat-ansible-$name
    for _ in $(seq 50); do
        [ -d "/proc/$pid" ] || break
        sleep 0.1
    done
    # Deepest first; a cgroup goes when nothing is in it any more.
    for _ in $(seq 30); do
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.1
    done
    rm -rf "$work"
}

action=$1
shift
"$action" "$@"
