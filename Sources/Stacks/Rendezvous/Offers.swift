import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory

/// How two ends that have proven themselves come to a slot: the connecting one offers, the accepting one maps and answers.
extension Rendezvous {
    static func offer(_ e: Endpoint, _ counts: KernelCounts?) -> MeetingResult {
        let m = unsafe e.local
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var pair = unsafe Pair.find(side: 0, m.pointee.meeting)
        let isNew = unsafe pair == nil
        if isNew {
            guard unsafe !Pair.isOverQuota(m.pointee.meeting.peerUid) else { return unsafe refuse(e, .limit) }
            unsafe pair = unsafe Pair.make(
                side: 0, peer: m.pointee.meeting.peer, uid: m.pointee.meeting.peerUid, channel: m.pointee.meeting.channel)
            unsafe pair?.pointee.ringBytes = unsafe UInt64(process.settings.ringBytes)
            var token: (UInt64, UInt64) = unsafe (slc_tsc(), process.nonce)
            _ = unsafe withUnsafeMutableBytes(of: &token) { unsafe slc_getrandom($0.baseAddress, 16) }
            unsafe pair?.pointee.token = token
        }
        guard let pair = unsafe pair else { return unsafe refuse(e, .resources) }
        guard let (region, slot) = unsafe pair.takeSlot() else {
            let result = unsafe refuse(e, Pair.isOverQuota(pair.pointee.peerUid) ? .limit : .resources)
            if isNew { unsafe keepUnused(e, pair) }
            return result
        }
        unsafe pair.pointee.liveSlots += 1
        var offer = message(SL_MESSAGE_REGION)
        tell(counts, &offer)
        offer.token = unsafe (pair.pointee.token.0, pair.pointee.token.1)
        offer.region = UInt32(bitPattern: region)
        offer.slot = UInt32(bitPattern: slot)
        offer.region_bytes = unsafe UInt64(Pair.regionBytes(pair.pointee.ringBytes))
        offer.ring_bytes = unsafe pair.pointee.ringBytes
        offer.index = isNew ? 1 : 0
        offer.ticket = unsafe pair.offerSlot(region, slot)
        let record = unsafe pair.pointee.regions[Int(region)]
        let pass = record.isTaken ? -1 : record.descriptor
        guard unsafe send(m.pointee.meeting.channel, &offer, pass) else {
            unsafe pair.takeBackSlot(region, slot, offer.ticket)
            if isNew { unsafe keepUnused(e, pair) }
            return .failed(.resources)
        }
        if isNew { unsafe pair.pointee.awaitsReady = true }
        unsafe m.pointee.pair = unsafe pair
        unsafe m.pointee.region = region
        unsafe m.pointee.slot = slot
        unsafe m.pointee.meeting.ticket = offer.ticket
        unsafe m.pointee.meeting.step = .offered
        return .goOn
    }

    static func proven(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        var got = sl_message()
        var passed: Int32 = -1
        var broken = false
        guard unsafe receive(e, &got, &passed, &broken) else { return broken ? .failed(.plainPeer) : .goOn }
        let now = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0)
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        let fits = unsafe got.kind == UInt32(SL_MESSAGE_REGION) && got.nonce == m.pointee.meeting.peer.nonce && got.slot < 64
        let areCounts = unsafe got.counted == 0 || now?.agree(with: got, after: m.pointee.meeting.counts) ?? true
        guard fits && areCounts else {
            if passed >= 0 { _ = slc_close(passed) }
            if fits { return unsafe refuse(e, .counts) }
            return .failed(got.kind == UInt32(SL_MESSAGE_REFUSE) ? refused(got) : .proof)
        }
        let isNew = got.index == 1
        var pair: UnsafeMutablePointer<Pair>? = nil
        if !isNew {
            unsafe pair = unsafe Pair.find(side: 1, m.pointee.meeting, token: (got.token.0, got.token.1))
        } else if unsafe !Pair.isOverQuota(m.pointee.meeting.peerUid) {
            unsafe pair = unsafe Pair.make(
                side: 1, peer: m.pointee.meeting.peer, uid: m.pointee.meeting.peerUid, channel: m.pointee.meeting.channel)
            unsafe pair?.pointee.token = (got.token.0, got.token.1)
        }
        guard let pair = unsafe pair else {
            if passed >= 0 { _ = slc_close(passed) }
            // Not our peer's; or the offer that makes the pair is still unread, in another meeting.
            return unsafe refuse(e, isNew ? .limit : .resources)
        }
        if isNew { unsafe m.pointee.meeting.channel = -1 }
        let region = Int32(bitPattern: got.region)
        let slot = Int32(bitPattern: got.slot)
        if unsafe passed >= 0 && pair.map(region) != nil {
            // It came with the offer of another slot, too.
            _ = slc_close(passed)
        } else if passed >= 0, let reason = unsafe pair.adoptRegion(passed, got) {
            return unsafe refuse(e, reason, pair, isNew)
        }
        if unsafe !isNew && pair.isTakenBack(region, slot, got.ticket) { return .failed(.plainPeer) }
        guard unsafe pair.isFree(region, slot) else { return unsafe refuse(e, .proof, pair, isNew) }
        guard let rings = unsafe pair.mapRings(region, slot) else { return unsafe refuse(e, .resources, pair, isNew) }
        var isMet = unsafe pair.claim(region, slot, got.ticket)
        if isMet {
            var ready = message(SL_MESSAGE_READY)
            tell(now, &ready)
            isMet = unsafe send(isNew ? pair.pointee.channel : m.pointee.meeting.channel, &ready)
            if !isMet { unsafe pair.leaveSlot(region, slot) }
        }
        guard isMet else {
            // The other end has given up meanwhile.
            unsafe Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
            return .failed(.plainPeer)
        }
        return unsafe .met(pair, region: region, slot: slot, rings: rings)
    }

    /// Tells the peer that there will be no lane, and why.
    private static func refuse(_ e: Endpoint, _ reason: Reason) -> MeetingResult {
        var m = message(SL_MESSAGE_REFUSE)
        m.reason = reason.number
        _ = unsafe send(e.local.pointee.meeting.channel, &m)
        return .failed(reason)
    }

    /// The same; a new pair has the meeting's channel by now, and goes.
    private static func refuse(
        _ e: Endpoint, _ reason: Reason, _ pair: UnsafeMutablePointer<Pair>, _ isNew: Bool
    ) -> MeetingResult {
        if isNew {
            unsafe e.local.pointee.meeting.channel = unsafe pair.pointee.channel
            unsafe pair.pointee.channel = -1
            unsafe pair.pointee.peerIsGone = true
        }
        return unsafe refuse(e, reason)
    }

    /// Of the reasons of a peer only those are repeated here that are about both of us.
    private static func refused(_ m: sl_message) -> Reason {
        switch Reason(m.reason) {
        case .counts: .counts
        case .limit: .limit
        case .resources: .resources
        default: .plainPeer
        }
    }

    static func offered(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        var got = sl_message()
        var passed: Int32 = -1
        var broken = false
        guard unsafe receive(e, &got, &passed, &broken) else { return broken ? .failed(.plainPeer) : .goOn }
        if passed >= 0 { _ = slc_close(passed) }
        guard got.kind == UInt32(SL_MESSAGE_READY), let pair = unsafe m.pointee.pair else { return .failed(refused(got)) }
        if got.counted == 1, let now = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0),
            unsafe !now.agree(with: got, after: m.pointee.meeting.counts)
        {
            return .failed(.counts)
        }
        unsafe process.lock.acquire()
        let mapped = unsafe pair.mapRings(m.pointee.region, m.pointee.slot)
        unsafe pair.pointee.regions[Int(m.pointee.region)].isTaken = true
        if unsafe mapped != nil && pair.pointee.channel == m.pointee.meeting.channel {
            unsafe m.pointee.meeting.channel = -1
            unsafe pair.pointee.awaitsReady = false
        }
        unsafe process.lock.release()
        guard let rings = unsafe mapped else { return .failed(.resources) }
        return unsafe .met(pair, region: m.pointee.region, slot: m.pointee.slot, rings: rings)
    }

    /// A pair that came to nothing keeps the meeting's channel, until both go.
    private static func keepUnused(_ e: Endpoint, _ pair: UnsafeMutablePointer<Pair>) {
        unsafe pair.pointee.peerIsGone = true
        unsafe pair.pointee.awaitsReady = false
        unsafe e.local.pointee.meeting.channel = -1
    }

    /// The meeting came to nothing, or its socket is being closed: what was offered is taken back. Under the process lock.
    public static func withdraw(_ e: Endpoint) {
        let m = unsafe e.local
        if unsafe m.pointee.meeting.step == .offered, unsafe m.pointee.meeting.owner == process.nonce,
            let pair = unsafe m.pointee.pair
        {
            // The peer never took the first offer.
            if unsafe pair.pointee.channel == m.pointee.meeting.channel { unsafe keepUnused(e, pair) }
            unsafe pair.takeBackSlot(m.pointee.region, m.pointee.slot, m.pointee.meeting.ticket)
            unsafe m.pointee.pair = nil
        }
        unsafe m.pointee.meeting.end()
    }
}
