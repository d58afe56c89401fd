import type { Ip } from '../core/ip/ip.ts';

/** An Ethernet frame, to be sent from interface number `index`. */
export type Frame = { readonly index: number; readonly bytes: Uint8Array };

/**
 * Tells everybody on the link that `ip` is at `mac` (`02:00:…`), so that who knew it elsewhere forgets: an ARP
 * announcement (RFC 5227 §2.3: a request whose sender and target are the address) or an unsolicited neighbour
 * advertisement (RFC 4861 §7.2.6).
 */
export function announcementOf(ip: Ip, mac: string, index: number): Frame {
  const hardware = Uint8Array.from(mac.split(':'), (octet) => Number.parseInt(octet, 16));
  return { index, bytes: ip.family === 4 ? arpAnnouncement(ip, hardware) : neighbourAdvertisement(ip, hardware) };
}

function arpAnnouncement(ip: Ip, mac: Uint8Array): Uint8Array {
  const address = addressBytes(ip);
  const ethernet = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...mac, 0x08, 0x06]; // to everybody, ARP
  const request = [0, 1, 0x08, 0x00, 6, 4, 0, 1, ...mac, ...address, 0, 0, 0, 0, 0, 0, ...address];
  return Uint8Array.from([...ethernet, ...request]);
}

function neighbourAdvertisement(ip: Ip, mac: Uint8Array): Uint8Array {
  const address = addressBytes(ip);
  const allNodes = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  const message = [136, 0, 0, 0, 0x20, 0, 0, 0, ...address, 2, 1, ...mac]; // override; its link-layer address
  const pseudoHeader = [...address, ...allNodes, 0, 0, 0, message.length, 0, 0, 0, 58]; // RFC 8200 §8.1
  const checksum = internetChecksum([...pseudoHeader, ...message]);
  message.splice(2, 2, checksum >> 8, checksum & 0xff);
  const ethernet = [0x33, 0x33, 0, 0, 0, 1, ...mac, 0x86, 0xdd]; // to all nodes, IPv6
  const header = [0x60, 0, 0, 0, 0, message.length, 58, 255, ...address, ...allNodes]; // hop limit 255: from this link
  return Uint8Array.from([...ethernet, ...header, ...message]);
}

/** RFC 1071, over an even number of bytes. */
function internetChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

function addressBytes(ip: Ip): Uint8Array {
  const length = ip.family === 4 ? 4 : 16;
  return Uint8Array.from({ length }, (_, i) => Number((ip.value >> BigInt(8 * (length - 1 - i))) & 0xffn));
}
