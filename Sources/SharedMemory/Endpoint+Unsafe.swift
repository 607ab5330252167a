import CLinux
import CStackLayout

/// The parts of an endpoint by name; offsets are asserted in CStackLayout.h.
extension UnsafeMutablePointer where Pointee == sl_endpoint {
    @inline(__always) public var rx: Half { unsafe (UnsafeMutableRawPointer(self) + 256).assumingMemoryBound(to: sl_half.self) }
    @inline(__always) public var tx: Half { unsafe (UnsafeMutableRawPointer(self) + 320).assumingMemoryBound(to: sl_half.self) }
    @inline(__always) public var rxDirection: Direction? { unsafe Direction(bitPattern: UInt(pointee.rx_direction)) }
    @inline(__always) public var txDirection: Direction? { unsafe Direction(bitPattern: UInt(pointee.tx_direction)) }
    @inline(__always) public var region: Region? { unsafe Region(bitPattern: UInt(pointee.region_address)) }

    /// The receiving side of the lane; nil when there is none. Under the rx lock.
    @inline(__always) public var reader: RingReader? {
        guard let d = unsafe rxDirection, let m = unsafe UnsafeMutableRawPointer(bitPattern: UInt(pointee.rx_ring)) else {
            return nil
        }
        return unsafe RingReader(direction: d, half: rx, memory: m, bytes: pointee.ring_bytes)
    }

    /// The sending side of the lane; nil when there is none. Under the tx lock.
    @inline(__always) public var writer: RingWriter? {
        guard let d = unsafe txDirection, let m = unsafe UnsafeMutableRawPointer(bitPattern: UInt(pointee.tx_ring)) else {
            return nil
        }
        return unsafe RingWriter(direction: d, half: tx, memory: m, bytes: pointee.ring_bytes, limit: pointee.tx_limit)
    }

    /// The header of the stack that it lies in.
    public var home: UnsafeMutablePointer<sl_stack_header>? {
        unsafe UnsafeMutablePointer<sl_stack_header>(bitPattern: UInt(pointee.stack_address))
    }

    /// A tool captures what its rings carry.
    @inline(__always) public var isWatched: Bool { unsafe slc_relaxed_u32(&pointee.watched) != 0 }

    /// A UDP socket, or one of its flows.
    @inline(__always) public var isDatagram: Bool { unsafe pointee.type == 2 }
    @inline(__always) public var isNonBlocking: Bool { unsafe pointee.status_flags & 0o4000 != 0 }
}
