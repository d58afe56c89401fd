import { addressBytes, type Bytes, internetChecksum, macBytes } from '../../../core/ip/bytes.ts';
import { type Ip, ipOf } from '../../../core/ip/ip.ts';

/** One end of the way of a frame. */
type FrameEnd = { readonly mac: string; readonly address: Ip; readonly port: number };
type Station = Omit<FrameEnd, 'port'>;

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

/**
 * The fragments of an echo request of `size` bytes with the IP header: each as an Ethernet frame, in hex, and the zero bytes that
 * follow. Small, so that they pass any link; the answer is as large, and its fragments are those of the node. Of IPv6
 * there must be several.
 */
export function echoFrames(
  from: Station,
  to: Station,
  id: number,
  size: number,
): readonly { readonly frame: string; readonly zeros: number }[] {
  const [source, target] = [addressBytes(from.address), addressBytes(to.address)];
  const isV4 = to.address.family === 4;
  const [protocol, type] = isV4 ? [icmp, 8] : [icmpv6, 128]; // RFC 792, RFC 4443 §4.1
  const length = size - (isV4 ? ipv4HeaderBytes : ipv6HeaderBytes);
  const pseudoHeader = isV4 ? [] : [...source, ...target, ...word(length, 4), 0, 0, 0, protocol];
  const echo = withChecksum([type, 0, 0, 0, ...word(id, 2), 0, 0], 2, pseudoHeader); // zero bytes do not change it
  const ethernet = ethernetHeader(from.mac, to.mac, isV4);
  return Array.from({ length: Math.ceil(length / fragmentBytes) }, (_, index) => {
    const offset = index * fragmentBytes;
    const bytes = Math.min(fragmentBytes, length - offset);
    const hasMore = offset + bytes < length;
    const content = offset === 0 ? echo : [];
    const header = isV4
      ? ipv4Header(protocol, source, target, bytes, wholeLan, { id, offset, hasMore })
      : [
          ...ipv6Header(fragmentHeader, source, target, 8 + bytes, wholeLan),
          protocol, // the fragment header, RFC 8200 §4.5
          0,
          ...word(offset | (hasMore ? 1 : 0), 2),
          ...word(id, 4),
        ];
    const frame = Buffer.from([...ethernet, ...header, ...content]).toString('hex');
    return { frame, zeros: bytes - content.length };
  });
}

const [icmp, tcp, udp, fragmentHeader, icmpv6] = [1, 6, 17, 44, 58];
const [ipv4HeaderBytes, ipv6HeaderBytes] = [20, 40];
/** A multiple of eight; with its headers less than the least MTU of IPv6. */
const fragmentBytes = 1200;
const wholeLan = 64;

/**
 * An Ethernet frame, in hex, with a packet of IPv4 or IPv6. `mac`: of its source. `packet`: with the IP header. `segment`: what follows
 * the IP header; a fragment header of IPv6 is part of it. `undefined`: the frame is too short for an answer to a probe.
 */
export function decodeFrame(hex: string):
  | {
      readonly mac: string;
      readonly source: Ip;
      readonly target: Ip;
      readonly packet: Buffer;
      readonly segment: Buffer;
    }
  | undefined {
  const packet = Buffer.from(hex.slice(28), 'hex');
  const isV4 = hex.slice(24, 28) === '0800';
  const headerBytes = isV4 ? 4 * ((packet[0] ?? 0) & 0xf) : ipv6HeaderBytes;
  if (packet.length < Math.max(headerBytes, ipv4HeaderBytes) + leastSegmentBytes) return undefined;
  const addressAt = (at: number, bytes: number): bigint => BigInt(`0x${packet.toString('hex', at, at + bytes)}`);
  return {
    mac: (hex.slice(12, 24).match(/../g) ?? []).join(':'),
    source: isV4 ? ipOf(4, addressAt(12, 4)) : ipOf(6, addressAt(8, 16)),
    target: isV4 ? ipOf(4, addressAt(16, 4)) : ipOf(6, addressAt(24, 16)),
    packet,
    segment: packet.subarray(headerBytes),
  };
}

/** The header of UDP and of an echo. */
const leastSegmentBytes = 8;

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
    ...ethernetHeader(from.mac, to.mac, isV4),
    ...(isV4 ? ipv4Header(...ends) : ipv6Header(...ends)),
    ...summed,
  ];
  return Buffer.from(frame).toString('hex');
}

/** As furiwake clamps it: a node that does not serve the address must not let the probe circle. */
const fewHops = 8;

function ethernetHeader(from: string, to: string, isV4: boolean): Bytes {
  return [...macBytes(to), ...macBytes(from), ...word(isV4 ? 0x08_00 : 0x86_dd, 2)];
}

/** A part of a packet; `offset`: a multiple of eight. */
type Fragment = { readonly id: number; readonly offset: number; readonly hasMore: boolean };

/** RFC 791 §3.1; without `fragment`, of a packet that must not be fragmented. */
function ipv4Header(
  protocol: number,
  source: Bytes,
  target: Bytes,
  length: number,
  hops: number,
  fragment?: Fragment,
): Bytes {
  const place = fragment === undefined ? 0x40_00 : (fragment.offset >> 3) | (fragment.hasMore ? 0x20_00 : 0);
  const fields = [...word(fragment?.id ?? 0, 2), ...word(place, 2), hops, protocol, 0, 0];
  return withChecksum([0x45, 0, ...word(ipv4HeaderBytes + length, 2), ...fields, ...source, ...target], 10, []);
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
