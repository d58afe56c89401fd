import { addressBytes, type Bytes, internetChecksum, macBytes } from '../core/ip/bytes.ts';
import { type Ip, ipOf } from '../core/ip/ip.ts';

/** An Ethernet frame, to be sent from interface number `index`. */
export type Frame = { readonly index: number; readonly bytes: Uint8Array };

/** The frames as lines for the perl scripts: the number of the interface, and the frame in hex. */
export function linesOf(frames: readonly Frame[]): string {
  return frames.map(({ index, bytes }) => `${index} ${hexOf(bytes)}\n`).join('');
}

/**
 * Announces to all neighbours on the link that `ip` is at `mac` (`02:00:…`), so that they replace an outdated entry: an
 * ARP announcement (RFC 5227 §2.3: a request whose sender and target are the address) or an unsolicited neighbour
 * advertisement (RFC 4861 §7.2.6).
 */
export function announcementOf(ip: Ip, mac: string, index: number): Frame {
  const hardware = macBytes(mac);
  const address = addressBytes(ip);
  if (ip.family === 4) return { index, bytes: arpRequest(hardware, address, address) };
  const message = [136, 0, 0, 0, 0x20, 0, 0, 0, ...address, 2, 1, ...hardware]; // override; its link-layer address
  return { index, bytes: icmpv6(hardware, address, allNodes, message) };
}

/**
 * Asks on the link whether a machine has `ip`, without claiming it: an ARP probe (RFC 5227 §2.1.1: a request whose
 * sender is 0.0.0.0) or a neighbour solicitation as for duplicate address detection (RFC 4862 §5.4.2: from the
 * unspecified address).
 */
export function probeOf(ip: Ip, mac: string, index: number): Frame {
  const hardware = macBytes(mac);
  const address = addressBytes(ip);
  if (ip.family === 4) return { index, bytes: arpRequest(hardware, [0, 0, 0, 0], address) };
  const message = [135, 0, 0, 0, 0, 0, 0, 0, ...address];
  return { index, bytes: icmpv6(hardware, unspecified, solicitedNode(address), message) };
}

/** A machine that has an address. */
export type Neighbour = { readonly address: string; readonly mac: string };

/**
 * The address that the sender of an ARP frame or a neighbour advertisement (without its IPv6 header) has; `undefined`
 * for other frames, and for an advertisement without a link-layer address.
 */
export function decodeNeighbour(bytes: Uint8Array): Neighbour | undefined {
  if (bytes.length >= 42 && hexOf(bytes.subarray(12, 20)) === '0806000108000604') {
    const address = ipOf(4, BigInt(`0x${hexOf(bytes.subarray(28, 32))}`));
    return address.value === 0n ? undefined : { address: address.text, mac: macOf(bytes.subarray(22, 28)) };
  }
  if (bytes[0] !== 136 || bytes.length < 24) return undefined;
  const { text: address } = ipOf(6, BigInt(`0x${hexOf(bytes.subarray(8, 24))}`));
  // Options: type, length in units of eight bytes, … (RFC 4861 §4.6); the target's link-layer address is 2.
  for (let at = 24; at + 8 <= bytes.length && bytes[at + 1] !== 0; at += 8 * (bytes[at + 1] ?? 1))
    if (bytes[at] === 2) return { address, mac: macOf(bytes.subarray(at + 2, at + 8)) };
  return undefined;
}

const unspecified: Bytes = Array.from({ length: 16 }, () => 0);
const allNodes: Bytes = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/** RFC 4291 §2.7.1. */
function solicitedNode(address: Bytes): Bytes {
  return [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.slice(13)];
}

function arpRequest(mac: Bytes, sender: Bytes, target: Bytes): Uint8Array {
  const ethernet = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...mac, 0x08, 0x06]; // broadcast, ARP
  return Uint8Array.from([...ethernet, 0, 1, 0x08, 0x00, 6, 4, 0, 1, ...mac, ...sender, 0, 0, 0, 0, 0, 0, ...target]);
}

/** `message` with its checksum, to a multicast group of the link. */
function icmpv6(mac: Bytes, source: Bytes, group: Bytes, message: Bytes): Uint8Array {
  const pseudoHeader = [...source, ...group, 0, 0, 0, message.length, 0, 0, 0, 58]; // RFC 8200 §8.1
  const checksum = internetChecksum([...pseudoHeader, ...message]);
  const summed = message.with(2, checksum >> 8).with(3, checksum & 0xff);
  const ethernet = [0x33, 0x33, ...group.slice(12), ...mac, 0x86, 0xdd]; // RFC 2464 §7, IPv6
  const header = [0x60, 0, 0, 0, 0, message.length, 58, 255, ...source, ...group]; // hop limit 255: from this link
  return Uint8Array.from([...ethernet, ...header, ...summed]);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function macOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
