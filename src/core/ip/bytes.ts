import { bitsOf, type Ip } from './ip.ts';

/** Bytes of a packet, in network byte order. */
export type Bytes = readonly number[];

/** The four or 16 bytes of an address. */
export function addressBytes({ family, value }: Ip): Bytes {
  const length = bitsOf(family) / 8;
  return Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn));
}

/** The six bytes of an Ethernet address such as `02:00:00:00:00:01`. */
export function macBytes(mac: string): Bytes {
  return mac.split(':').map((octet) => Number.parseInt(octet, 16));
}

/** The checksum of the Internet protocols (RFC 1071), over an even number of bytes. */
export function internetChecksum(bytes: Bytes): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
