import type { Ip } from '../../../core/ip/ip.ts';
import type { UnequalMtu } from '../../../core/traffic/report.ts';
import type { Clock } from '../../../ports/clock.ts';
import { type Exec, ExecError } from '../../../ports/exec.ts';
import type { Link } from '../../../ports/network.ts';
import { decodeFrame, echoFrames } from './probe-frames.ts';
import { probeScript } from './probe-script.ts';

/** A node on a link of this host, and an address of this host there. Both addresses have the same family. */
export type MeasuredPath = {
  readonly link: Pick<Link, 'index' | 'mac' | 'mtu'> & { readonly address: Ip };
  readonly nodeMac: string;
  readonly nodeAddress: Ip;
};

/**
 * Which nodes have another MTU than the link of this host:
 *
 *   this host ── echo request, one byte larger than the MTU, in small fragments ──► node
 *             ◄── the answer in one piece: the MTU of the node is larger; in fragments: the first one is as large as it may be
 *
 * A node that does not answer, because it drops such requests or all echo requests, shows nothing, and has no entry: `direct` uses it.
 * Sends all at once, twice, and waits for half a second at most. Throws `ExecError` when perl fails.
 */
export type MtuProbe = (
  paths: readonly MeasuredPath[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<MeasuredPath, UnequalMtu | 'equal'>>;

/** Each path has an identifier of its own, from here on. */
const firstId = 57_000;
const mostPaths = 4_000;
/** Larger packets do not exist. */
const mostBytes = 65_535;
const [pauseMs, pauses] = [250, 2];
/** Longer than perl needs to start, and the window. */
const startMs = 5_000;

/** Echo replies to the identifiers of the probe, whole or the first fragment. */
// prettier-ignore
const script = probeScript([
  [0x28, 0, 0, 12], [0x15, 0, 8, 0x08_00], // IPv4?
  [0x30, 0, 0, 23], [0x15, 0, 19, 1], [0x28, 0, 0, 20], [0x45, 17, 0, 0x1f_ff], // ICMP, and not a later fragment
  [0xb1, 0, 0, 14], [0x50, 0, 0, 14], [0x15, 0, 14, 0], [0x05, 0, 0, 11], // an echo reply
  [0x15, 0, 12, 0x86_dd], [0x01, 0, 0, 40], [0x30, 0, 0, 20], // IPv6?
  [0x15, 0, 4, 44], [0x28, 0, 0, 56], [0x45, 7, 0, 0xff_f8], [0x01, 0, 0, 48], [0x30, 0, 0, 54], // the first fragment?
  [0x15, 0, 4, 58], [0x50, 0, 0, 14], [0x15, 0, 2, 129], // ICMPv6: an echo reply
  [0x48, 0, 0, 18], [0x35, 1, 0, firstId], [0x06, 0, 0, 0], [0x06, 0, 0, 96], // its identifier
]);

export function makeMtuProbe({ exec, clock }: { readonly exec: Exec; readonly clock: Clock }): MtuProbe {
  return async (paths, signal) => {
    const found = new Map<MeasuredPath, UnequalMtu | 'equal'>();
    const measured = paths.filter(({ link }) => link.mtu < mostBytes).slice(0, mostPaths);
    if (measured.length === 0) return found;
    const linesTo = ({ link, nodeMac, nodeAddress }: MeasuredPath, index: number): string =>
      echoFrames(link, { mac: nodeMac, address: nodeAddress }, firstId + index, link.mtu + 1)
        .map(({ frame, zeros }) => `${link.index} ${frame} ${zeros}\n`)
        .join('');
    using deadline = clock.deadline(startMs, signal);
    const isOver = new AbortController();
    await using perl = exec.spawn('perl', ['-e', script], AbortSignal.any([deadline.signal, isOver.signal]));
    const sendAll = async (): Promise<void> => {
      for (let turn = 0; turn < pauses; turn++) {
        const lines = measured.map((path, index) => (found.has(path) ? '' : linesTo(path, index)));
        await perl.write(lines.join(''));
        await clock.sleep(pauseMs, isOver.signal);
      }
    };
    let sending: Promise<void> | undefined;
    for await (const line of perl.lines) {
      if (line === 'ready') {
        sending = sendAll().finally(() => isOver.abort());
        sending.catch(() => undefined); // the end of perl, which is reported below
      } else if (!line.startsWith('sent ')) {
        const reply = decodeReply(line);
        if (reply === undefined) continue;
        const { id, mac, source, packetBytes, isWhole } = reply;
        const path = measured[id - firstId];
        if (path !== undefined && source.text === path.nodeAddress.text && mac === path.nodeMac)
          found.set(path, compareMtu(path.link.mtu, packetBytes, isWhole));
      }
      if (found.size === measured.length) isOver.abort();
    }
    signal.throwIfAborted();
    if (!isOver.signal.aborted) throw new ExecError('perl', await perl.exited, await perl.takeErrors());
    return found;
  };
}

/** A fragment that is not the last one carries a multiple of eight bytes. */
function compareMtu(lan: number, packetBytes: number, isWhole: boolean): UnequalMtu | 'equal' {
  if (isWhole) return { least: lan + 1, most: undefined, lan };
  const [least, most] = [packetBytes, packetBytes + 7];
  return least <= lan && lan <= most ? 'equal' : { least, most, lan };
}

function decodeReply(hex: string):
  | {
      readonly id: number;
      readonly mac: string;
      readonly source: Ip;
      readonly packetBytes: number;
      readonly isWhole: boolean;
    }
  | undefined {
  const frame = decodeFrame(hex);
  if (frame === undefined) return undefined;
  const { mac, source, packet, segment } = frame;
  if (source.family === 4) {
    const isWhole = (packet.readUInt16BE(6) & 0x20_00) === 0;
    return { id: segment.readUInt16BE(4), mac, source, packetBytes: packet.readUInt16BE(2), isWhole };
  }
  const isWhole = packet[6] === icmpv6;
  const echo = isWhole ? segment : segment.subarray(8);
  if (echo.length < 8) return undefined;
  return { id: echo.readUInt16BE(4), mac, source, packetBytes: 40 + packet.readUInt16BE(4), isWhole };
}

const icmpv6 = 58;
