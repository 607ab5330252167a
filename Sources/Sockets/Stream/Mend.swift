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
        guard let w = e.writer else { return }
        let d = w.direction
        let half = w.half
        // Bytes that were copied before the offset was written down count as sent.
        slc_set_u64(&d.pointee.base, half.pointee.base)
        slc_release_u64(&d.pointee.producer, half.pointee.offset)
        let isPublished = slc_relaxed_u32(&d.pointee.phase) == half.pointee.phase
        if half.pointee.phase & 1 == 1 {
            slc_set_u64(&d.pointee.kernel_count, half.pointee.kernel_bytes)
            slc_release_u32(&d.pointee.phase, half.pointee.phase)
            if slc_acquire_u64(&d.pointee.consumer) & ringClaim != 0 { leaveRing(e, fd) }
        } else if !isPublished {
            let end = slc_acquire_u64(&d.pointee.consumer) & ~ringClaim
            slc_set_u64(&d.pointee.ring_end, end)
            half.pointee.other_offset = end
            if end != half.pointee.offset { half.pointee.flags |= UInt32(SL_HALF_TAKE_BACK) }
            slc_release_u32(&d.pointee.phase, half.pointee.phase)
        } else if half.pointee.flags & UInt32(SL_HALF_COUNTED) != 0,
            let c = KernelCounts.take(fd, connecting: e.pointee.role == 0, afterFin: true)
        {
            // A kernel call that took effect: of what was taken back, or of the program's bytes.
            let more = c.sent &- half.pointee.kernel_bytes
            guard more < 1 << 48 else { return }
            half.pointee.kernel_bytes = c.sent
            if half.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 {
                half.pointee.other_offset &+= min(more, half.pointee.offset &- half.pointee.other_offset)
            }
        }
        notifyAll(e)
    }

    /// Under the rx lock.
    @inline(never) static func mendReceive(_ e: Endpoint, _ fd: Int32) {
        guard let r = e.reader else { return }
        let d = r.direction
        let half = r.half
        let consumer = slc_acquire_u64(&d.pointee.consumer)
        let producer = slc_acquire_u64(&d.pointee.producer)
        let mayEnd = half.pointee.phase & 1 == 1 && slc_acquire_u32(&d.pointee.phase) != half.pointee.phase
        if consumer & ringClaim == 0 && mayEnd && consumer == producer {
            // It had jumped over what was taken back.
            half.pointee.offset = consumer
            half.pointee.phase &+= 1
        } else if producer &- (consumer & ~ringClaim) <= r.bytes {
            half.pointee.offset = consumer & ~ringClaim
        }
        slc_release_u32(&d.pointee.phase_reached, half.pointee.phase)
        if half.pointee.flags & UInt32(SL_HALF_COUNTED) != 0,
            let c = KernelCounts.take(fd, connecting: e.pointee.role == 0, afterFin: true),
            c.read &- half.pointee.kernel_bytes < 1 << 48
        {
            half.pointee.kernel_bytes = c.read
        }
        notifyAll(e)
    }
}
