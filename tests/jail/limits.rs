//! Limits of a jail.

use airlock::domain::{Verdict, limits::MIB, stack::Limits};

use crate::{
    host::{Host, phase, servers},
    runner::Phase,
    tests,
};

tests![
    memory_is_limited_for_the_whole_jail,
    ten_thousand_forks_are_contained,
    a_file_does_not_grow_beyond_its_limit,
    open_files_are_limited,
    tmp_is_bounded,
    processor_time_is_shared_out,
    no_group_is_left_behind,
];

fn limited(limits: Limits, script: &str) -> Phase {
    Phase { limits, ..phase(script) }
}

fn memory_is_limited_for_the_whole_jail() {
    for server in servers() {
        let host = Host::new(*server);
        // Four processes of 40 MB: none is above the limit alone.
        let script = "for i in 1 2 3 4; do perl -e '$x = \"a\" x (40 << 20); sleep 5' & done; wait; echo survived";
        let small = Limits { memory_bytes: 64 * MIB, ..Limits::default() };
        let report = host.run(limited(small, script));
        assert_eq!(report.verdict, Verdict::OutOfMemory { limit_bytes: 64 * MIB }, "{server:?} {report:?}");
        let expected = if host.spec.cgroup.is_some() { "cgroup" } else { "poll" };
        assert!(report.limited_by.starts_with(expected), "{report:?}");
        // The control: the same fits into a larger jail.
        let large = Limits { memory_bytes: 1_024 * MIB, ..Limits::default() };
        let report = host.run(limited(large, &script.replace("sleep 5", "1")));
        assert_eq!(report.stdout, "survived\n", "{server:?} {report:?}");
        assert!(report.peak_memory_bytes.unwrap() > 30 * MIB, "{report:?}");
    }
}

fn ten_thousand_forks_are_contained() {
    // Counts how many of its children live at the same time.
    let script = "perl -e 'my $n = 0; for (1..10000) { my $p = fork; if (!defined $p) { next } \
                  if (!$p) { sleep 100; exit } $n++ } print $n; exit 1'";
    for server in servers() {
        let host = Host::new(*server);
        let few = Limits { processes: 50, ..Limits::default() };
        let report = host.run(limited(few, script));
        let forked: u32 = report.stdout.parse().unwrap();
        assert!((30..50).contains(&forked), "{server:?} {report:?}");
        if host.spec.cgroup.is_some() {
            assert_eq!(report.verdict, Verdict::ProcessLimit { limit: 50 });
        }
        // The control: a larger jail holds more.
        let more = Limits { processes: 200, ..Limits::default() };
        let forked: u32 = host.run(limited(more, script)).stdout.parse().unwrap();
        assert!((150..200).contains(&forked), "{server:?} {forked}");
    }
}

fn a_file_does_not_grow_beyond_its_limit() {
    for server in servers() {
        let host = Host::new(*server);
        let limits = Limits { file_bytes: 2 * MIB, ..Limits::default() };
        let write = |mib: u32| format!("head -c {} /dev/zero > big", mib << 20);
        let report = host.run(limited(limits.clone(), &write(3)));
        assert!(
            matches!(report.verdict, Verdict::FileLimit { limit_bytes, .. } if limit_bytes == 2 * MIB),
            "{report:?}"
        );
        assert_eq!(std::fs::metadata(host.workspace().join("big")).unwrap().len(), 2 * MIB);
        assert_eq!(host.run(limited(limits, &write(2))).verdict, Verdict::SUCCESS);
    }
}

fn open_files_are_limited() {
    for server in servers() {
        let host = Host::new(*server);
        let limits = Limits { open_files: 64, ..Limits::default() };
        assert_eq!(host.run(limited(limits, "ulimit -n; ulimit -Hn; ulimit -c")).stdout, "64\n64\n0\n");
    }
}

fn tmp_is_bounded() {
    for server in servers() {
        let host = Host::new(*server);
        let said = host.says("df -k /tmp | tail -1 | awk '{print $2}'; df -k /dev/shm | tail -1 | awk '{print $2}'");
        assert_eq!(said, "1048576\n65536\n", "{server:?}");
        let small = Limits { memory_bytes: 64 * MIB, ..Limits::default() };
        assert_eq!(host.run(limited(small, "df -k /tmp | tail -1 | awk '{print $2}'")).stdout, "65536\n");
    }
}

fn processor_time_is_shared_out() {
    let host = Host::new(servers()[0]);
    host.groups();
    let limits = Limits { cpu_percent: Some(20), ..Limits::default() };
    let report = host.run(limited(limits, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"));
    // Not how long it took, but how much of that it got.
    let share = report.cpu_ms.unwrap() * 1_000 * 100 / report.microseconds;
    assert!(share <= 60, "{share} % {report:?}");
    let free = host.run(phase("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"));
    assert!(free.cpu_ms.unwrap() > 0, "{free:?}");
}

fn no_group_is_left_behind() {
    let host = Host::new(servers()[0]);
    let cgroup = host.groups();
    host.says("true");
    let limits = Limits { memory_bytes: 32 * MIB, cpu_percent: Some(100), ..Limits::default() };
    host.run(limited(limits, "perl -e '$x = \"a\" x (100 << 20)'"));
    let runs = host.data.path().join("runs");
    assert_eq!(airlock::runner::native::sweep_cgroups(cgroup, &runs, &[]).unwrap(), 0);
}
