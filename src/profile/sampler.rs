//! Registers and stacks of whatever uses the CPU, taken by a signal the kernel sends as CPU time goes by (`setitimer`, `ITIMER_PROF`).
//!
//! Invariants: the handler is async-signal-safe (signal-safety(7)): atomics on memory that is always there, and two system calls. It walks no
//! stack and follows no pointer: the kernel copies the bytes and says where they end. It stays installed once it was, as a signal may arrive
//! after the timer has stopped and its default action is to end the process. At most one [`Sampling`] lives.

use std::{
    cell::UnsafeCell,
    io, mem, ptr,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

/// How much of a stack is kept. Ours are a few KiB deep; the outermost frames of a deeper one are missing in the picture.
const STACK_BYTES: usize = 32 << 10;
/// Samples between two looks.
const SLOTS: usize = 64;
const PAGE_BYTES: usize = 4096;

const FREE: u8 = 0;
const BEING_WRITTEN: u8 = 1;
const FULL: u8 = 2;

/// A thread as it was when the signal came.
pub(super) struct Sample {
    /// Where it was.
    pub(super) pc: u64,
    /// The stack pointer, the address of the first byte of `stack`.
    pub(super) sp: u64,
    /// The frame pointer, if the code keeps one there.
    pub(super) fp: u64,
    /// The link register, where there is one.
    pub(super) lr: u64,
    /// Its name, padded with zeros.
    pub(super) thread: [u8; 16],
    len: usize,
    stack: [u8; STACK_BYTES],
}

impl Sample {
    const EMPTY: Self = Self { pc: 0, sp: 0, fp: 0, lr: 0, thread: [0; 16], len: 0, stack: [0; STACK_BYTES] };

    /// The word at an address of this stack, if that was copied.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let from = usize::try_from(address.checked_sub(self.sp)?).ok()?;
        let bytes = self.stack[..self.len].get(from..from.checked_add(8)?)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}

struct Slot {
    state: AtomicU8,
    sample: UnsafeCell<Sample>,
}

// SAFETY: whoever moved `state` from FREE to BEING_WRITTEN, or finds it FULL and is the one reader, alone touches `sample`.
#[allow(unsafe_code)]
unsafe impl Sync for Slot {}

/// Zeros, so no page of it is there before the first profile.
static RING: [Slot; SLOTS] = [const { Slot { state: AtomicU8::new(FREE), sample: UnsafeCell::new(Sample::EMPTY) } }; SLOTS];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static IS_ON: AtomicBool = AtomicBool::new(false);

/// The timer runs as long as this lives.
pub(super) struct Sampling(());

impl Sampling {
    /// Begins, with so many samples in a second of CPU time.
    pub(super) fn start(per_cpu_second: u32) -> io::Result<Self> {
        if IS_ON.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other("sampling is on already"));
        }
        // From here on dropping it cleans up.
        let sampling = Self(());
        can_read_stacks()?;
        install_handler()?;
        LOST.store(0, Ordering::Relaxed);
        set_timer(1_000_000 / i64::from(per_cpu_second.max(1)))?;
        Ok(sampling)
    }

    /// Hands over what has come, and makes room for more.
    #[allow(unsafe_code)]
    pub(super) fn take(&self, mut each: impl FnMut(&Sample)) {
        for slot in &RING {
            if slot.state.load(Ordering::Acquire) == FULL {
                // SAFETY: a FULL slot is written by nobody, and there is one `Sampling`, whose thread reads.
                each(unsafe { &*slot.sample.get() });
                slot.state.store(FREE, Ordering::Release);
            }
        }
    }

    /// Ends, and says for how many samples there was no room.
    pub(super) fn stop(self, each: impl FnMut(&Sample)) -> u64 {
        let _ = set_timer(0);
        self.take(each);
        LOST.load(Ordering::Relaxed)
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        let _ = set_timer(0);
        // A handler that runs still fills its slot; the next profile begins without it.
        IS_ON.store(false, Ordering::Release);
        self.take(|_| ());
    }
}

/// A container's seccomp profile may forbid the one call the handler needs; better to hear it now.
fn can_read_stacks() -> io::Result<()> {
    let (here, mut there) = (0x0050_4958_4D49_4C4C_u64, [0_u8; 8]);
    match copy(ptr::from_ref(&here) as u64, &mut there) {
        8 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(unsafe_code)]
fn install_handler() -> io::Result<()> {
    // SAFETY: a zeroed sigaction is one with an empty mask; the handler has the signature that SA_SIGINFO asks for and is as safe as the
    // head of this file says. SA_RESTART: reads and writes of others go on where they were.
    let done = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_tick as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Zero stops it.
#[allow(unsafe_code)]
fn set_timer(every_us: i64) -> io::Result<()> {
    let every = libc::timeval { tv_sec: 0, tv_usec: every_us };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: it reads one struct and may write none.
    if unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[allow(unsafe_code)]
extern "C" fn on_tick(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !IS_ON.load(Ordering::Acquire) || context.is_null() {
        return;
    }
    // SAFETY: errno is this thread's own. Whoever was interrupted between a call and its look at errno must find it as it was.
    let errno = unsafe { *libc::__errno_location() };
    let slot = &RING[NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS];
    if slot.state.compare_exchange(FREE, BEING_WRITTEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        // SAFETY: this handler has the slot, see `Slot`; the kernel hands a valid ucontext to a handler with SA_SIGINFO.
        unsafe { fill(&mut *slot.sample.get(), &*context.cast::<libc::ucontext_t>()) };
        slot.state.store(FULL, Ordering::Release);
    } else {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

#[allow(unsafe_code)]
fn fill(sample: &mut Sample, context: &libc::ucontext_t) {
    (sample.pc, sample.sp, sample.fp, sample.lr) = registers(context);
    sample.len = copy(sample.sp, &mut sample.stack);
    // SAFETY: PR_GET_NAME writes 16 bytes at most, with their zero.
    if unsafe { libc::prctl(libc::PR_GET_NAME, sample.thread.as_mut_ptr()) } != 0 {
        sample.thread = [0; 16];
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> (u64, u64, u64, u64) {
    let register = |which: libc::c_int| context.uc_mcontext.gregs[usize::try_from(which).unwrap_or(0)].cast_unsigned();
    (register(libc::REG_RIP), register(libc::REG_RSP), register(libc::REG_RBP), 0)
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> (u64, u64, u64, u64) {
    let of = &context.uc_mcontext;
    (of.pc, of.sp, of.regs[29], of.regs[30])
}

/// Copies from an address of this process as far as there is memory; how many bytes that were. By pages, as the kernel copies a piece whole or
/// not at all.
#[allow(unsafe_code)]
fn copy(from: u64, to: &mut [u8]) -> usize {
    const MOST: usize = STACK_BYTES / PAGE_BYTES + 1;
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST];
    let (mut count, mut at, mut left) = (0, from, to.len());
    while left > 0 && count < MOST {
        let to_the_pages_end = PAGE_BYTES - (at as usize % PAGE_BYTES);
        let len = left.min(to_the_pages_end);
        pieces[count] = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: len };
        (count, at, left) = (count + 1, at.wrapping_add(len as u64), left - len);
    }
    let here = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    // SAFETY: the kernel checks every address on the other side and writes `to.len()` bytes at most to `to`, which is ours.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const here, 1, pieces.as_ptr(), count as libc::c_ulong, 0) };
    usize::try_from(copied).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn what_is_not_mapped_ends_a_copy_and_harms_nobody() {
        // SAFETY: two fresh pages, the second of which is given back at once.
        let first = unsafe {
            let pages = libc::mmap(
                ptr::null_mut(),
                2 * PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(pages, libc::MAP_FAILED);
            assert_eq!(libc::munmap(pages.byte_add(PAGE_BYTES), PAGE_BYTES), 0);
            pages as u64
        };
        let mut to = [1_u8; STACK_BYTES];
        assert_eq!(copy(first + 96, &mut to), PAGE_BYTES - 96);
        assert!(to[..PAGE_BYTES - 96].iter().all(|byte| *byte == 0));
        assert_eq!(copy(8, &mut to), 0, "nothing is at the first page");
        let mut sample = Sample { sp: 1000, len: 16, ..Sample::EMPTY };
        sample.stack[8] = 5;
        assert_eq!((sample.word(1008), sample.word(1009), sample.word(999), sample.word(u64::MAX)), (Some(5), None, None, None));
    }
}
