import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// After a process that shared this end was killed inside a critical section. Every step there publishes last, so what is
/// found half done can be told from the two sides of each word, and the kernel's own counts tell which of its calls took
/// effect before the holder could write it down.
extension Lane {
    /// Under the tx lock.
    @inline(never) static func mendSend(_ e: Endpoint, _ fd: Int32) {
        guard let w = unsafe e.writer else { return }
        let d = unsafe w.direction
        let half = unsafe w.half
        // Bytes that were copied before the offset was written down count as sent.
        unsafe slc_set_u64(&d.pointee.base, half.pointee.base)
        unsafe slc_release_u64(&d.pointee.producer, half.pointee.offset)
        let isPublished = unsafe slc_relaxed_u32(&d.pointee.phase) == half.pointee.phase
        if unsafe half.pointee.phase & 1 == 1 {
            unsafe slc_set_u64(&d.pointee.kernel_count, half.pointee.kernel_bytes)
            unsafe slc_release_u32(&d.pointee.phase, half.pointee.phase)
            if unsafe slc_acquire_u64(&d.pointee.consumer) & ringClaim != 0 { unsafe leaveRing(e, fd) }
        } else if !isPublished {
            var end = unsafe slc_acquire_u64(&d.pointee.consumer) & ~ringClaim
            if unsafe half.pointee.offset &- end > w.bytes { end = unsafe half.pointee.offset }
            unsafe slc_set_u64(&d.pointee.ring_end, end)
            unsafe half.pointee.other_offset = end
            if unsafe end != half.pointee.offset { unsafe half.pointee.flags |= UInt32(SL_HALF_TAKE_BACK) }
            unsafe slc_release_u32(&d.pointee.phase, half.pointee.phase)
        } else if unsafe half.pointee.flags & UInt32(SL_HALF_COUNTED) != 0,
            let c = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0, afterFin: true)
        {
            // A kernel call that took effect: of what was taken back, or of the program's bytes.
            let more = unsafe c.sent &- half.pointee.kernel_bytes
            guard more < 1 << 48 else { return }
            unsafe half.pointee.kernel_bytes = c.sent
            if unsafe half.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 {
                unsafe half.pointee.other_offset &+= min(more, half.pointee.offset &- half.pointee.other_offset)
            }
        }
        unsafe notifyAll(e)
    }

    /// Under the rx lock.
    @inline(never) static func mendReceive(_ e: Endpoint, _ fd: Int32) {
        guard let r = unsafe e.reader else { return }
        let d = unsafe r.direction
        let half = unsafe r.half
        let consumer = unsafe slc_acquire_u64(&d.pointee.consumer)
        let producer = unsafe slc_acquire_u64(&d.pointee.producer)
        let mayEnd = unsafe half.pointee.phase & 1 == 1 && slc_acquire_u32(&d.pointee.phase) != half.pointee.phase
        if consumer & ringClaim == 0 && mayEnd && consumer == producer {
            // It had jumped over what was taken back.
            unsafe half.pointee.offset = consumer
            unsafe half.pointee.phase &+= 1
        } else if producer &- (consumer & ~ringClaim) <= r.bytes {
            unsafe half.pointee.offset = consumer & ~ringClaim
        }
        unsafe slc_release_u32(&d.pointee.phase_reached, half.pointee.phase)
        if unsafe half.pointee.flags & UInt32(SL_HALF_COUNTED) != 0,
            let c = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0, afterFin: true),
            unsafe c.read &- half.pointee.kernel_bytes < 1 << 48
        {
            unsafe half.pointee.kernel_bytes = c.read
        }
        unsafe notifyAll(e)
    }
}
