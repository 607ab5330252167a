import CLinux
import CStackLayout

/// The word of a sleeper, `number << 2 | state` (sl_waiter.word). The sleeper takes the next number, says *asleep*,
/// fences, looks again and sleeps. The waker publishes, fences, reads the word; if *asleep* it rings the bell first and
/// then marks that very sleep as rung. A late mark cannot cancel a later sleep; a double ring is harmless.
public enum Sleeper {
    /// Announces sleep `number` of waiter `w`; a full fence follows.
    @inline(__always) public static func announce(_ w: UnsafeMutablePointer<sl_waiter>, number: UInt64) {
        unsafe slc_set_u32(&w.pointee.cpu, slc_cpu() &+ 1)
        _ = unsafe slc_exchange_u64(&w.pointee.word, number << 2 | UInt64(SL_ASLEEP))
    }

    /// Says awake again; true when the bell was rung for this sleep.
    @inline(__always) public static func awake(_ w: UnsafeMutablePointer<sl_waiter>, number: UInt64) -> Bool {
        unsafe slc_exchange_u64(&w.pointee.word, number << 2 | UInt64(SL_AWAKE)) & 3 == UInt64(SL_RUNG)
    }

    /// For the waker: the word if its owner must be rung, else nil.
    @inline(__always) public static func asleep(_ w: UnsafeMutablePointer<sl_waiter>) -> UInt64? {
        let word = unsafe slc_relaxed_u64(&w.pointee.word)
        let state = word & 3
        return state == UInt64(SL_AWAKE) || state == UInt64(SL_RUNG) ? nil : word
    }

    /// After ringing.
    @inline(__always) public static func markRung(_ w: UnsafeMutablePointer<sl_waiter>, _ word: UInt64) {
        _ = unsafe slc_cas_u64(&w.pointee.word, word, (word & ~3) | UInt64(SL_RUNG))
    }
}
