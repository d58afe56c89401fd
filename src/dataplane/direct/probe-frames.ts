import { addressBytes, type Bytes, internetChecksum, macBytes } from '../../core/ip/bytes.ts';
import type { Ip } from '../../core/ip/ip.ts';

/** One end of the way of a frame. */
type FrameEnd = { readonly mac: string; readonly address: Ip; readonly port: number };

const isn = 0x66757269;
const flags = { syn: 0x02, rst: 0x04 } as const;

/**
 * An Ethernet frame, in hex, with a TCP segment without data (RFC 9293 §3.1): the SYN that opens a connection, or the RST that
 * ends the connection of that SYN. Both addresses have the same family.
 */
export function tcpFrame(kind: 'syn' | 'rst', from: FrameEnd, to: FrameEnd): string {
  const segment = [
    ...word(from.port, 2),
    ...word(to.port, 2),
    ...word(kind === 'syn' ? isn : isn + 1, 4),
    ...word(0, 4),
    5 << 4, // a header of five words
    flags[kind],
    ...word(65_535, 2), // window
    ...word(0, 2), // checksum
    ...word(0, 2),
  ];
  return frameOf(tcp, segment, 16, from, to, fewHops);
}

/** An Ethernet frame, in hex, with an empty UDP datagram (RFC 768). Both addresses have the same family. `hops`: its TTL. */
export function udpFrame(from: FrameEnd, to: FrameEnd, hops: number = fewHops): string {
  return frameOf(udp, [...word(from.port, 2), ...word(to.port, 2), ...word(8, 2), ...word(0, 2)], 6, from, to, hops);
}

const tcp = 6;
const udp = 17;

/** `checksumAt`: its position in the segment, where it is 0. */
function frameOf(
  protocol: number,
  segment: Bytes,
  checksumAt: number,
  from: FrameEnd,
  to: FrameEnd,
  hops: number,
): string {
  const [source, target] = [addressBytes(from.address), addressBytes(to.address)];
  const isV4 = to.address.family === 4;
  const pseudoHeader = isV4
    ? [...source, ...target, 0, protocol, ...word(segment.length, 2)] // RFC 9293 §3.1
    : [...source, ...target, ...word(segment.length, 4), 0, 0, 0, protocol]; // RFC 8200 §8.1
  const summed = withChecksum(segment, checksumAt, pseudoHeader);
  const ends = [protocol, source, target, summed.length, hops] as const;
  const frame = [
    ...macBytes(to.mac),
    ...macBytes(from.mac),
    ...word(isV4 ? 0x08_00 : 0x86_dd, 2),
    ...(isV4 ? ipv4Header(...ends) : ipv6Header(...ends)),
    ...summed,
  ];
  return Buffer.from(frame).toString('hex');
}

/** As furiwake clamps it: a node that does not serve the address must not let the probe circle. */
const fewHops = 8;

/** RFC 791 §3.1, without fragmentation. */
function ipv4Header(protocol: number, source: Bytes, target: Bytes, length: number, hops: number): Bytes {
  const header = [0x45, 0, ...word(20 + length, 2), 0, 0, 0x40, 0, hops, protocol, 0, 0, ...source, ...target];
  return withChecksum(header, 10, []);
}

/** RFC 8200 §3. */
function ipv6Header(protocol: number, source: Bytes, target: Bytes, length: number, hops: number): Bytes {
  return [0x60, 0, 0, 0, ...word(length, 2), protocol, hops, ...source, ...target];
}

/** `bytes` with the checksum over them and `before` at a position. */
function withChecksum(bytes: Bytes, at: number, before: Bytes): Bytes {
  const checksum = internetChecksum([...before, ...bytes]) || 0xff_ff; // 0 in a datagram: there is none (RFC 768)
  return bytes.with(at, checksum >> 8).with(at + 1, checksum & 0xff);
}

/** A number in network byte order. */
function word(value: number, length: number): Bytes {
  return Array.from({ length }, (_, index) => Math.floor(value / 2 ** (8 * (length - 1 - index))) & 0xff);
}
