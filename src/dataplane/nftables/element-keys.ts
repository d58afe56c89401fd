import { endianness } from 'node:os';
import type { Ip } from '../../core/ip/ip.ts';
import type { ListenerAddress } from '../../core/traffic/table.ts';
import { protocolNumbers } from './element.ts';

/*
 * Keys of elements as the kernel has them, in hex: the parts of a concatenation, each filled up to four bytes.
 *
 *   192.0.2.51 . udp . 53   c0000233 11000000 00350000
 */

/** The bytes of an address, in network byte order. */
export function addressKey({ family, value }: Ip): string {
  return value.toString(16).padStart(family === 4 ? 8 : 32, '0');
}

export function portKey(port: number): string {
  return `${port.toString(16).padStart(4, '0')}0000`;
}

/** The key of a listener: address, protocol and port. */
export function listenerAddressKey({ address, protocol, port }: ListenerAddress): string {
  return `${addressKey(address)}${protocolNumbers[protocol].toString(16).padStart(2, '0')}000000${portKey(port)}`;
}

const isLittle = endianness() === 'LE';

/** A number of type `classid`, in the byte order of the host. */
export function classKey(id: number): string {
  const bytes = Buffer.alloc(4);
  if (isLittle) bytes.writeUInt32LE(id);
  else bytes.writeUInt32BE(id);
  return bytes.toString('hex');
}
