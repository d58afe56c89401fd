import * as z from 'zod';
import type { Ip } from '../../../core/ip/ip.ts';
import { parseIp } from '../../../core/ip/ip.ts';
import { decodedAnswer, type Exec, jsonAnswer } from '../../../ports/exec.ts';

const neighbours = z.array(z.object({ dst: z.string().optional(), lladdr: z.string().optional() }));
const macPattern = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/;

/** The MAC addresses under which the kernel knows these addresses, by the text of each. Throws `ExecError` if `ip` fails. */
async function readMacs(
  exec: Exec,
  addresses: Iterable<Ip>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const wanted = new Set(Array.from(addresses, ({ text }) => text));
  if (wanted.size === 0) return new Map();
  const { stdout } = await exec.run('ip', ['-json', 'neighbour', 'show'], { signal });
  return new Map(
    decodedAnswer('ip', neighbours, jsonAnswer('ip', stdout || '[]'))
      .map(({ dst = '', lladdr = '' }) => [parseIp(dst)?.text ?? '', lladdr] as const)
      .filter(([text, mac]) => wanted.has(text) && macPattern.test(mac)),
  );
}

/** The same, remembered: the kernel is asked when `isRefresh` is set, and for other addresses than before. */
export function makeKnownMacs(
  exec: Exec,
): (addresses: readonly Ip[], isRefresh: boolean, signal: AbortSignal) => Promise<ReadonlyMap<string, string>> {
  let asked = '';
  let known: ReadonlyMap<string, string> = new Map();
  return async (addresses, isRefresh, signal) => {
    const texts = addresses.map(({ text }) => text).join(' ');
    if (isRefresh || texts !== asked) known = await readMacs(exec, addresses, signal);
    asked = texts;
    return known;
  };
}
