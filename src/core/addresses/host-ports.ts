import type { Ip } from '../ip/ip.ts';
import type { HostFacts } from '../model/host.ts';
import type { ListenerKey } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';

/**
 * Why a port of an address is not for Services: the host keeps ports of its own addresses for itself, so that no Service
 * ever cuts off an administrator's ssh. `recorded`: the listeners that the Service had before.
 */
export function hostNeed(
  { handsOutOwn, reservedPorts }: Site,
  { ownAddresses, listening, listeningTrouble }: HostFacts,
  recorded: ReadonlySet<ListenerKey>,
  ip: Ip,
  { port, protocol }: ServicePort,
): Verdict | undefined {
  // An own address that the host lacks at present has its programs again when it is back.
  if (!handsOutOwn && !ownAddresses.some(({ text }) => text === ip.text)) return undefined;
  if (reservedPorts.has(port)) {
    return {
      reason: 'PortInUseOnHost',
      message: `port ${port} of ${ip.text}, an address of the load-balancer host itself, is one of --reserved-ports`,
    };
  }
  // A program that started after the Service was served never had the port to itself.
  if (recorded.has(listenerKey(ip, port, protocol))) return undefined;
  const isInTheWay = (socket: HostFacts['listening'][number]): boolean =>
    socket.protocol === protocol && socket.port === port && listensOn(socket, ip);
  if (listening.some(isInTheWay))
    return {
      reason: 'PortInUseOnHost',
      message: `a program on the load-balancer host listens on ${protocol} port ${port} of its address ${ip.text}`,
    };
  if (listeningTrouble === undefined) return undefined;
  return {
    reason: 'PortInUseOnHost',
    message: `furiwake cannot find out whether a program on the load-balancer host listens on ${protocol} port ${port} of its address ${ip.text}: ${listeningTrouble}`,
  };
}

function listensOn(socket: HostFacts['listening'][number], ip: Ip): boolean {
  if (socket.address !== undefined) return socket.address.text === ip.text;
  return socket.family === ip.family || socket.family === 6; // `::` takes IPv4 too, unless the program said otherwise
}
