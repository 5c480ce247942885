//! Asks the processor for memory that will be read soon. A module of its own for its `unsafe`.

/// So far ahead memory is asked for; farther is not faster.
const AHEAD: usize = 1024;
/// Length of the line of memory that one request brings.
const LINE_LEN: usize = 64;

/// Asks for what lies some rows behind `at`, where a scan has come to.
#[inline(always)]
pub(crate) fn prefetch_ahead(bytes: &[u8], at: usize) {
    prefetch(bytes, at + AHEAD);
    prefetch(bytes, at + AHEAD + LINE_LEN);
}

/// Asks for the line of `bytes` at `at`; does nothing outside of `bytes`.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "scans wait for memory without"))]
pub(crate) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads and changes nothing that a program can see; the place is valid
        // memory besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}
