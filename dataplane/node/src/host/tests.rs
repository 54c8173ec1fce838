//! The checks against made-up machines, and once against this one.

use std::fs;
use std::path::Path;

use super::*;

/// A machine on which everything is in order.
const GOOD: &[(&str, &str)] = &[
    ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
    ("proc/net/protocols", "protocol  size sockets\nXDP  960  0\nTCP 2240 5\n"),
    ("proc/sys/net/core/bpf_jit_enable", "1\n"),
    ("proc/self/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
    ("sys/kernel/btf/vmlinux", ""),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("proc/1/comm", "init\n"),
    ("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n"),
    ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/mtu", "1500\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
];

fn build(root: &Path, changes: &[(&str, Option<&str>)]) -> Machine {
    for (path, text) in GOOD {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let device = root.join("sys/class/net/eth0/device");
    fs::create_dir_all(&device).unwrap();
    std::os::unix::fs::symlink("../../../bus/pci/drivers/ice", device.join("driver")).unwrap();
    for (path, text) in changes {
        let path = root.join(path);
        match text {
            Some(text) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            None => fs::remove_file(path).unwrap(),
        }
    }
    Machine::at(root)
}

fn config(text: &str) -> NodeConfig {
    secbeat_config::parse(text).unwrap()
}

fn syn() -> NodeConfig {
    config("[server]\nmode = \"syn\"\nbackend_address = \"192.0.2.1:80\"\n[io]\ninterfaces = [\"eth0\"]\n")
}

fn examine_with(changes: &[(&str, Option<&str>)], config: &NodeConfig) -> Report {
    let dir = tempfile::tempdir().unwrap();
    examine(&build(dir.path(), changes), config)
}

fn find<'r>(report: &'r Report, name: &str) -> &'r Check {
    report
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check {name}: {report:?}"))
}

#[test]
fn machine_in_order_has_no_complaint() {
    let report = examine_with(&[], &syn());
    let complaints: Vec<_> = report.checks.iter().filter(|check| check.state != State::Ok).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(find(&report, "driver").found.contains("zero-copy"));
}

#[test]
fn each_fault_is_found_and_comes_with_the_command_that_mends_it() {
    for (path, text, name, state, command) in [
        ("proc/sys/kernel/osrelease", Some("4.19.0"), "version", State::Fail, ""),
        ("proc/sys/kernel/osrelease", Some("5.10.0-28"), "version", State::Warn, ""),
        ("proc/net/protocols", Some("TCP 1 1\n"), "AF_XDP", State::Fail, ""),
        (
            "proc/sys/net/core/bpf_jit_enable",
            Some("0"),
            "BPF JIT",
            State::Warn,
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        ("proc/self/mounts", Some(""), "bpffs", State::Warn, "mount -t bpf bpf /sys/fs/bpf"),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            Some("hpet"),
            "clocksource",
            State::Warn,
            "",
        ),
        ("sys/devices/system/cpu/online", Some("0"), "cores", State::Warn, ""),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            Some("powersave"),
            "governor",
            State::Warn,
            "cpupower",
        ),
        ("proc/7/comm", Some("irqbalance"), "irqbalance", State::Warn, "systemctl disable --now irqbalance"),
        ("proc/meminfo", Some("MemAvailable: 1000 kB"), "available", State::Fail, ""),
        (
            "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
            Some("0"),
            "huge pages",
            State::Warn,
            "sysctl -w vm.nr_hugepages=",
        ),
        (
            "proc/sys/net/ipv4/ip_local_port_range",
            Some("1024 65535"),
            "local ports",
            State::Warn,
            "ip_local_reserved_ports=10000-32767",
        ),
        (
            "proc/sys/net/ipv4/conf/eth0/rp_filter",
            Some("1"),
            "reverse path",
            State::Warn,
            "net.ipv4.conf.eth0.rp_filter=2",
        ),
        ("sys/class/net/eth0/operstate", Some("down"), "link", State::Warn, "ip link set eth0 up"),
        ("sys/class/net/eth0/mtu", Some("9000"), "MTU", State::Fail, "ip link set eth0 mtu 1500"),
        ("proc/sys/kernel/osrelease", None, "version", State::Unknown, ""),
    ] {
        let report = examine_with(&[(path, text)], &syn());
        let check = find(&report, name);
        assert_eq!(check.state, state, "{path} = {text:?}: {check:?}");
        assert!(check.command.as_deref().unwrap_or_default().contains(command), "{check:?}");
        assert!(!check.problem.is_empty(), "{check:?}");
    }
}

#[test]
fn reserved_ports_settle_the_overlap() {
    let changes = [
        ("proc/sys/net/ipv4/ip_local_port_range", Some("1024 65535")),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", Some("80,10000-32767")),
    ];
    assert_eq!(find(&examine_with(&changes, &syn()), "local ports").state, State::Ok);
}

fn l7(more: &str) -> NodeConfig {
    config(&format!(
        "[server]\nmode = \"l7\"\n[io]\ninterfaces = [\"eth0\"]\n\
         [[listeners]]\nname = \"web\"\nbind_address = \"192.0.2.1:443\"\n\
         [[listeners]]\nname = \"high\"\nbind_address = \"192.0.2.1:40443\"\n{more}\
         [[backends]]\naddress = \"192.0.2.9:80\"\n"
    ))
}

#[test]
fn listener_on_a_port_that_the_kernel_hands_out_is_named_with_the_range_and_what_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let machine = build(dir.path(), &[]);
    let report = examine(&machine, &l7(""));
    let check = find(&report, "listener ports");
    assert_eq!(
        (check.state, check.found.as_str()),
        (State::Warn, "40443 of `high` in the kernel's 32768-60999")
    );
    let command = "sysctl -w net.ipv4.ip_local_reserved_ports=40443";
    assert_eq!(check.command.as_deref(), Some(command));
    assert_eq!(find(&report, "local ports").state, State::Ok);
    let clashes = clashes(&machine, &l7(""));
    assert_eq!(clashes.len(), 1);
    for part in ["40443", "`high`", "32768-60999", command] {
        assert!(clashes[0].contains(part), "{clashes:?}");
    }
}

#[test]
fn start_speaks_of_l7_listeners_alone_and_doctor_of_all() {
    let text = "[[listeners]]\nname = \"old\"\nmode = \"syn\"\nbind_address = \"192.0.2.1:50000\"\n";
    let dir = tempfile::tempdir().unwrap();
    let machine = build(dir.path(), &[]);
    assert!(clashes(&machine, &l7(text)).iter().all(|line| !line.contains("`old`")));
    let report = examine(&machine, &l7(text));
    let command = find(&report, "listener ports").command.clone();
    assert_eq!(command.as_deref(), Some("sysctl -w net.ipv4.ip_local_reserved_ports=40443,50000"));
}

#[test]
fn reserved_port_of_a_listener_is_in_order() {
    for reserved in ["40443", "80,40000-41000", "1-2,40443-40443"] {
        let dir = tempfile::tempdir().unwrap();
        let changes = [("proc/sys/net/ipv4/ip_local_reserved_ports", Some(reserved))];
        let machine = build(dir.path(), &changes);
        assert_eq!(find(&examine(&machine, &l7("")), "listener ports").state, State::Ok, "{reserved}");
        assert!(clashes(&machine, &l7("")).is_empty());
    }
}

#[test]
fn what_is_reserved_already_stays_so_when_more_is() {
    let changes = [
        ("proc/sys/net/ipv4/ip_local_port_range", Some("20000 65535")),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", Some("8080,9000-9100\n")),
    ];
    let report = examine_with(&changes, &l7(""));
    let command = "sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9100,10000-32767,40443";
    for name in ["local ports", "listener ports"] {
        assert_eq!(find(&report, name).command.as_deref(), Some(command));
    }
}

#[test]
fn snat_range_that_is_reserved_in_parts_is_in_order() {
    let changes = [
        ("proc/sys/net/ipv4/ip_local_port_range", Some("20000 65535")),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", Some("20000-25000,25001-32767,40443")),
    ];
    assert_eq!(find(&examine_with(&changes, &l7("")), "local ports").state, State::Ok);
}

#[test]
fn port_without_a_range_to_compare_with_is_unknown_and_start_says_nothing() {
    let changes = [("proc/sys/net/ipv4/ip_local_port_range", None)];
    let dir = tempfile::tempdir().unwrap();
    let machine = build(dir.path(), &changes);
    assert_eq!(find(&examine(&machine, &l7("")), "local ports").state, State::Unknown);
    assert!(clashes(&machine, &l7("")).is_empty());
}

#[test]
fn node_on_sockets_does_not_ask_for_af_xdp() {
    let config = config("[server]\nmode = \"tcp\"\n[io]\ndriver = \"socket\"\n");
    let changes = [("proc/net/protocols", Some("TCP 1 1\n")), ("proc/sys/kernel/osrelease", Some("4.19.0"))];
    let report = examine_with(&changes, &config);
    assert!(!report.fails(), "{}", report.table(true));
    assert!(report.checks.iter().all(|check| check.name != "AF_XDP"));
}

#[test]
fn missing_interface_and_core_fail() {
    let mut config = syn();
    config.io.interfaces = vec!["eth9".into()];
    config.io.cores = vec![2, 9];
    let report = examine_with(&[], &config);
    assert_eq!(find(&report, "present").state, State::Fail);
    assert_eq!(find(&report, "cores").state, State::Fail);
}

#[test]
fn empty_machine_is_unknown_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let report = examine(&Machine::at(dir.path()), &syn());
    assert!(report.checks.iter().any(|check| check.state == State::Unknown));
}

#[test]
fn this_machine_is_examined_without_a_panic_in_both_formats() {
    for text in ["", "[server]\nmode = \"syn\"\nbackend_address = \"192.0.2.1:80\"\n"] {
        let report = examine(&Machine::this(), &config(text));
        assert!(report.table(false).ends_with("not working\n"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["checks"].as_array().map(Vec::len), Some(report.checks.len()));
        assert_eq!(json["fails"], report.fails());
    }
}
