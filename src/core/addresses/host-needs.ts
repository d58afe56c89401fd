import type { Ip } from '../ip/ip.ts';
import type { HostFacts } from '../model/host.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { Draft, Ground } from './draft.ts';

/** Why no Service may have this port of an own address of the host: an administrator never loses ssh to one. */
export function hostNeeds(draft: Draft, ip: Ip, port: ServicePort, ground: Ground): Verdict | undefined {
  const need = needOf(draft, ip, port, ground);
  draft.waitsForHost ||= need !== undefined;
  return need;
}

function needOf(
  { recorded }: Draft,
  ip: Ip,
  { port, protocol }: ServicePort,
  { host, site }: Ground,
): Verdict | undefined {
  if (!host.ownAddresses.some((own) => own.text === ip.text)) return undefined;
  if (site.reservedPorts.has(port)) {
    return {
      reason: 'PortInUseOnHost',
      message: `port ${port} of ${ip.text}, an address of the load-balancer host itself, is one of --reserved-ports`,
    };
  }
  // A program that came after the Service never had the port to itself.
  if (recorded.has(listenerKey(ip, port, protocol))) return undefined;
  if (!host.listening.some((socket) => socket.port === port && listensOn(socket, ip))) return undefined;
  return {
    reason: 'PortInUseOnHost',
    message: `a program on the load-balancer host listens on port ${port} of its address ${ip.text}`,
  };
}

function listensOn(socket: HostFacts['listening'][number], ip: Ip): boolean {
  if (socket.address !== undefined) return socket.address.text === ip.text;
  return socket.family === ip.family || socket.family === 6; // `::` takes IPv4 too, unless the program said otherwise
}
