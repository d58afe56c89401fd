import { addressBytes, internetChecksum } from '../../src/core/ip/bytes.ts';
import type { Ip } from '../../src/core/ip/ip.ts';
import { udpFrame } from '../../src/dataplane/direct/probes/probe-frames.ts';
import type { Machine } from './net-lab.ts';

/** Sends Ethernet frames, in hex, from a device of a machine. */
export async function sendFrames(machine: Machine, device: string, frames: readonly string[]): Promise<void> {
  const { index } = await machine.device(device);
  await machine.exec('perl', '-e', script, String(index), ...frames);
}

const script = String.raw`
my ($index, @frames) = @ARGV;
socket(my $link, 17, 3, 0) or die "packet socket: $!\n";              # AF_PACKET, SOCK_RAW, receives nothing
for (@frames) {
  send($link, pack("H*", $_), 0, pack("SnlSCCx8", 17, hex(substr($_, 24, 4)), $index, 0, 0, 6)) or die "send: $!\n";
}
`;

/** The same frame with a VLAN tag (IEEE 802.1Q). */
export function tagged(frame: string, vlan: number): string {
  return `${frame.slice(0, 24)}8100${vlan.toString(16).padStart(4, '0')}${frame.slice(24)}`;
}

/**
 * The same frame, of IPv6 without extension headers, with one of eight bytes: the options for each hop (0) or for the destination (60),
 * which are padding (RFC 8200 §4.3, §4.6).
 */
export function withOptions(frame: string, header: 0 | 60): string {
  const [ethernet, ip, rest] = [frame.slice(0, 28), frame.slice(28, 108), frame.slice(108)];
  const length = Number.parseInt(ip.slice(8, 12), 16) + 8;
  const fields = `${ip.slice(0, 8)}${hexOf(length, 2)}${hexOf(header, 1)}${ip.slice(14)}`;
  return `${ethernet}${fields}${ip.slice(12, 14)}00010400000000${rest}`;
}

type FrameStation = { readonly mac: string; readonly address: Ip };

/** An Ethernet frame, in hex, with the ICMP error that the packet of the frame `carried` was too large (RFC 1191, RFC 4443 §3.2). */
export function tooLargeFrame(from: FrameStation, to: FrameStation, carried: string): string {
  const isV4 = to.address.family === 4;
  const headers = Buffer.from(udpFrame({ ...from, port: 0 }, { ...to, port: 0 }, 64).slice(0, isV4 ? 68 : 108), 'hex');
  const error = Buffer.from(`${isV4 ? '0304' : '0200'}0000${hexOf(1_300, 4)}${carried.slice(28)}`, 'hex');
  const pseudoHeader = isV4
    ? []
    : [...addressBytes(from.address), ...addressBytes(to.address), 0, 0, 0, error.length, 0, 0, 0, 58];
  error.writeUInt16BE(internetChecksum([...pseudoHeader, ...error]), 2);
  if (isV4) {
    headers.writeUInt16BE(20 + error.length, 16);
    headers.writeUInt8(1, 23);
    headers.writeUInt16BE(0, 24);
    headers.writeUInt16BE(internetChecksum([...headers.subarray(14)]), 24);
  } else {
    headers.writeUInt16BE(error.length, 18);
    headers.writeUInt8(58, 20);
  }
  return Buffer.concat([headers, error]).toString('hex');
}

function hexOf(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, '0');
}
