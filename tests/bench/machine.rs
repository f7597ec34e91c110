//! What the benchmark asks of Linux: the processor time and memory of another process, processor affinity, the limit of open
//! files, and epoll. All of the benchmark's `unsafe` calls but the ones before `exec` stand here.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The processor time that all threads of `process` have used, the ended ones too, in nanoseconds.
pub fn processor_time_ns(process: u32) -> io::Result<u64> {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls only write to the variables they are given.
    unsafe {
        match libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) {
            0 => check(libc::clock_gettime(clock, &mut time))?,
            error => return Err(io::Error::from_raw_os_error(error)),
        };
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The processor time of all children that have ended and were waited for, in nanoseconds.
pub fn processor_time_of_children_ns() -> io::Result<u64> {
    // SAFETY: the call only writes to the structure that it is given, of which all zeros are a value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        check(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage))?;
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    Ok(ns(usage.ru_utime) + ns(usage.ru_stime))
}

/// The resident memory of a process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// All of it: `VmRSS`.
    pub resident: f64,
    /// Heap and stacks: `RssAnon`. A heap that grows by thousands of equal things grows by as much as they take.
    pub anonymous: f64,
}

impl Memory {
    /// What `process` has now, from `/proc/PID/status`.
    pub fn of(process: u32) -> io::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .trim()
                        .strip_suffix(" kB")?
                        .trim()
                        .parse::<f64>()
                        .ok()
                })
                .map(|kilobytes| kilobytes * 1024.0)
                .ok_or_else(|| io::Error::other(format!("/proc/{process}/status has no {name}")))
        };
        Ok(Memory {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
        })
    }
}

/// The processors this process may use.
pub fn processors() -> Vec<usize> {
    // SAFETY: a cpu_set_t of zeros is an empty set, and the call fills it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Vec::new();
        }
        (0..libc::CPU_SETSIZE as usize)
            .filter(|&processor| libc::CPU_ISSET(processor, &set))
            .collect()
    }
}

/// Restricts the calling thread, and what it starts from now on, to `processors`. It allocates nothing, so it may be called between
/// fork and exec.
pub fn stay_on(processors: &[usize]) -> io::Result<()> {
    // SAFETY: the set is a plain value, and the numbers came from `processors()`.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &processor in processors {
            libc::CPU_SET(processor, &mut set);
        }
        check(libc::sched_setaffinity(
            0,
            size_of::<libc::cpu_set_t>(),
            &set,
        ))?;
    }
    Ok(())
}

/// Raises the limit of open files as far as it goes; brokers started later inherit it. Returns the limit.
pub fn raise_open_files() -> io::Result<u64> {
    // SAFETY: the calls read and write one plain structure.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
        Ok(limit.rlim_cur)
    }
}

/// The name of the processor, for the report's heading.
pub fn processor_name() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    information
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(':')
                .map(|(_, name)| name.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// An epoll instance, level-triggered.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// That a descriptor became ready.
#[derive(Clone, Copy)]
pub struct Event {
    /// The number under which it was added.
    pub token: usize,
    /// Reading will not block, or the peer closed; otherwise it is writing that will not block.
    pub readable: bool,
}

impl Poll {
    /// An instance without descriptors.
    pub fn new() -> io::Result<Poll> {
        // SAFETY: the descriptor is new and owned by nobody else.
        let epoll =
            unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poll {
            epoll,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
        })
    }

    /// Watches `descriptor` for reading. It is forgotten when it is closed.
    pub fn add(&self, descriptor: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, token, libc::EPOLLIN)
    }

    /// Watches `descriptor` for writing too, or no longer.
    pub fn watch_writing(&self, descriptor: RawFd, token: usize, writing: bool) -> io::Result<()> {
        let wanted = if writing {
            libc::EPOLLIN | libc::EPOLLOUT
        } else {
            libc::EPOLLIN
        };
        self.control(libc::EPOLL_CTL_MOD, descriptor, token, wanted)
    }

    fn control(
        &self,
        operation: i32,
        descriptor: RawFd,
        token: usize,
        wanted: i32,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: wanted as u32,
            u64: token as u64,
        };
        // SAFETY: the event lives for the call.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor, &mut event)
        })?;
        Ok(())
    }

    /// Waits for events, at most for `timeout` (in whole milliseconds), and puts them into `ready`.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<Event>) -> io::Result<()> {
        ready.clear();
        // SAFETY: the buffer is as long as the call is told.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout.as_millis() as i32,
            )
        };
        match check(count) {
            Ok(count) => ready.extend(self.events[..count as usize].iter().map(|event| Event {
                token: event.u64 as usize,
                readable: event.events & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32
                    != 0,
            })),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Turns the -1 of a system call into its error.
fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
