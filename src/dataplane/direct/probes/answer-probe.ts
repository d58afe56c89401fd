import { type Family, type Ip, ipOf } from '../../../core/ip/ip.ts';
import type { Clock } from '../../../ports/clock.ts';
import { type Exec, ExecError } from '../../../ports/exec.ts';
import type { MeasuredPath } from './mtu-probe.ts';
import { decodeFrame, tcpFrame, udpFrame } from './probe-frames.ts';
import { probeScript } from './probe-script.ts';

/** The way of packets from this host over the link to a node, and from the node back to this host. */
export type ProbedPath = {
  /** Of the interface of this host on the node's link, with an address of this host on it. */
  readonly link: MeasuredPath['link'];
  readonly nodeMac: string;
  readonly nodeAddress: Ip;
  readonly vip: Ip;
  /** Of a TCP listener on the VIP that has no source ranges; `undefined`: no listener is asked. */
  readonly port: number | undefined;
};

/**
 * How nodes send packets that have the VIP as their source:
 *
 *   with a port     this host ── SYN to the VIP ──► node: kube-proxy, Pod       ── SYN-ACK from the VIP ──► this host
 *   without         this host ── datagram from the VIP to this host ──► node: forwards it ─────────────────► this host
 *   always          this host ── datagram from the VIP to a far address ──► node: forwards it ──► this host, or another router
 *
 * The first two show that the LAN lets the node send with an address that is not its own. The first one shows as well that
 * kube-proxy serves the VIP and that a Pod accepts; the second one needs neither, only a node that forwards, as Kubernetes requires. Both
 * answers must come from the MAC of the node.
 * The third one finds a node whose gateway is this host; its TTL ends at the first router. Sends all at once and waits for half
 * a second at most. Throws `ExecError` when perl fails.
 */
export type AnswerProbe = (paths: readonly ProbedPath[], signal: AbortSignal) => Promise<ProbeResult>;

export type ProbeResult = {
  /** The node answers this host, over the link. */
  readonly answered: ReadonlySet<ProbedPath>;
  /** What the node sends to clients outside its LAN crosses this host. */
  readonly crossing: ReadonlySet<ProbedPath>;
};

/** Addresses for benchmarks (RFC 2544, RFC 5180), which only a default route leads to. */
const far: { readonly [F in Family]: Ip } = {
  4: ipOf(4, 0xc6_12_00_01n), // 198.18.0.1
  6: ipOf(6, 0x2001_0002_0000_0000_0000_0000_0000_0001n), // 2001:2::1
};
/** One for the node, and the last one for the router. */
const hopsToRouter = 2;

/** Each path has a port of its own, from here on: an answer to it belongs to the path. */
const firstPort = 61_000;
const mostPaths = 4_000;
/** All is sent twice: the first answer of a Pod may wait for an ARP request. */
const pausesMs = [200, 300];
/** After the last answer: what crosses this host may be a little later. */
const graceMs = 50;
/** Longer than perl needs to start, and the window. */
const startMs = 5_000;

/** SYN-ACKs and datagrams to the ports of the probe. */
const script = probeScript([
  [0x28, 0, 0, 12], [0x15, 0, 5, 0x08_00], // IPv4?
  [0x28, 0, 0, 20], [0x45, 13, 0, 0x1f_ff], [0xb1, 0, 0, 14], [0x30, 0, 0, 23], [0x05, 0, 0, 3], // not a later fragment
  [0x15, 0, 9, 0x86_dd], [0x01, 0, 0, 40], [0x30, 0, 0, 20], // IPv6?
  [0x15, 4, 0, 17], [0x15, 0, 5, 6], [0x50, 0, 0, 27], [0x54, 0, 0, 0x17], [0x15, 0, 2, 0x12], // UDP, or TCP with SYN and ACK
  [0x48, 0, 0, 16], [0x35, 1, 0, firstPort], [0x06, 0, 0, 0], [0x06, 0, 0, 96], // to a port of the probe
]); // prettier-ignore

export function makeAnswerProbe(deps: { readonly exec: Exec; readonly clock: Clock }): AnswerProbe {
  const { exec, clock } = deps;
  return async (paths, signal) => {
    const [answered, crossing] = [new Set<ProbedPath>(), new Set<ProbedPath>()];
    const probed = paths.slice(0, mostPaths);
    if (probed.length === 0) return { answered, crossing };
    /** Frames that perl was given and has not sent. */
    let unsent = 0;
    const frameOf = (kind: 'syn' | 'rst', { link, nodeMac, vip, port }: ProbedPath, local: number): string => {
      if (port !== undefined) return tcpFrame(kind, { ...link, port: local }, { mac: nodeMac, address: vip, port });
      const [from, to] = [
        { mac: link.mac, address: vip },
        { mac: nodeMac, address: link.address },
      ];
      return udpFrame({ ...from, port: local }, { ...to, port: local });
    };
    const line = (kind: 'syn' | 'rst', path: ProbedPath, index: number): string =>
      `${path.link.index} ${frameOf(kind, path, firstPort + index)}\n`;
    const farLine = ({ link, nodeMac, vip }: ProbedPath, index: number): string => {
      const port = firstPort + index;
      const [from, to] = [
        { mac: link.mac, address: vip, port },
        { mac: nodeMac, address: far[vip.family], port },
      ];
      return `${link.index} ${udpFrame(from, to, hopsToRouter)}\n`;
    };
    using deadline = clock.deadline(startMs, signal);
    const isOver = new AbortController();
    await using perl = exec.spawn('perl', ['-e', script], AbortSignal.any([deadline.signal, isOver.signal]));
    const sendAll = async (): Promise<void> => {
      for (const pauseMs of pausesMs) {
        const missing = [...probed.entries()].filter(([, path]) => !answered.has(path));
        unsent += 2 * missing.length;
        await perl.write(missing.map(([index, path]) => farLine(path, index) + line('syn', path, index)).join(''));
        await clock.sleep(pauseMs, isOver.signal);
      }
    };
    const receive = async (text: string): Promise<void> => {
      const frame = decodeFrame(text);
      if (frame === undefined) return;
      const { mac, source, target, segment } = frame;
      const index = segment.readUInt16BE(2) - firstPort; // the target port
      const path = probed[index];
      if (path === undefined || source.text !== path.vip.text || mac === path.link.mac) return; // of another source, or a reflection
      if (target.text === far[target.family].text) crossing.add(path);
      else if (mac === path.nodeMac && !answered.has(path)) await accept(path, index);
    };
    const accept = async (path: ProbedPath, index: number): Promise<void> => {
      answered.add(path);
      if (path.port === undefined) return; // there is no connection to reset
      unsent++;
      await perl.write(line('rst', path, index));
    };
    const endSoon = async (): Promise<void> => {
      await clock.sleep(graceMs, isOver.signal).catch(() => undefined); // it is over already
      isOver.abort();
    };
    let ending: Promise<void> | undefined;
    let sending: Promise<void> | undefined;
    for await (const text of perl.lines) {
      const [, sent] = /^sent (\d+)$/.exec(text) ?? [];
      if (text === 'ready') {
        sending = sendAll().finally(() => isOver.abort());
        sending.catch(() => undefined); // the end of perl, which is reported below
      } else if (sent === undefined) await receive(text);
      else unsent -= Number(sent);
      if (answered.size === probed.length && unsent === 0) ending ??= endSoon(); // the resets are sent, too
    }
    signal.throwIfAborted();
    const isEarly = !isOver.signal.aborted && answered.size < probed.length;
    if (isEarly) throw new ExecError('perl', await perl.exited, await perl.takeErrors());
    isOver.abort();
    return { answered, crossing };
  };
}
