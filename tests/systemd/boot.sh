#!/bin/sh
# The first process of a small machine: this machine's own root under an overlay, with a real systemd as PID 1.
#
# Called by tests/systemd.sh inside fresh namespaces (mount, pid, net, uts, ipc, cgroup), never by hand: it mounts.
#   tests/systemd/boot.sh <folder> <changes>    folder: mounted over; changes: laid over the root
set -eu
folder=$1
changes=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
cp -a "$changes/." "$folder/upper/"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" none "$folder/root"
cd "$folder/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
# As systemd mounts it outside containers.
mount -t bpf -o nosuid,nodev,noexec,mode=0700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=755 none dev
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666,mode=620 none dev/pts
ln -s pts/ptmx dev/ptmx
# Nothing that reaches beyond the namespaces (clocks, modules, devices, sysctls), and no service of this machine.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service \
    systemd-random-seed.service systemd-timesyncd.service systemd-remount-fs.service systemd-pstore.service \
    systemd-hwdb-update.service proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
# What this machine says about services of packages is not for the small one.
rm -f usr/sbin/policy-rc.d
mkdir -p var/log/journal mnt
ip link set lo up
# Not chroot: the kernel refuses user namespaces (PrivateUsers) to whoever lives in one.
pivot_root . mnt
umount -l mnt
exec env -i container=secbeat-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-level=notice
