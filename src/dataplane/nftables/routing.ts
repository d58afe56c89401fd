import { type LineDialogue, makeLineDialogue } from '../../async/line-dialogue.ts';
import { families, type Family } from '../../core/ip/ip.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError, jsonAnswer, refusalOf } from '../../ports/exec.ts';
import { markBit } from './ruleset.ts';

/*
 * Delivers a marked packet to this host's own sockets, whatever its destination; per family:
 *
 *   82: from all fwmark 0x2000/0x2000 lookup 8192       before any rule that routes by source or interface
 *   table 8192: local default dev lo
 */
const routeTable = '8192';
const rulePriority = '82';
const rule = `priority ${rulePriority} fwmark ${markBit}/${markBit} lookup ${routeTable}`;
const route = `local default dev lo table ${routeTable}`;

/** The routing rules and routes for the mark, of all families that the kernel supports and that are not switched off. */
export type Routing = {
  /** Adds missing rules and routes. Resolves with the repaired families; throws `ExecError` if one is still missing. */
  ensure(signal: AbortSignal): Promise<readonly Family[]>;
  /** Removes rules and routes. No error when there are none. */
  remove(signal: AbortSignal): Promise<boolean>;
};

const answerMs = 5_000;
/** The kernel's answer where `net.ipv6.conf.*.disable_ipv6` is 1: the host has no IPv6 address to which a packet could be delivered. */
const ipv6IsOff = 'IPv6 is disabled on nexthop device';
const rules = `rule list priority ${rulePriority}`;
const routes = `route list table ${routeTable}`;

/** Its programs end with `lifetime`. */
export function makeRouting({
  exec,
  clock,
  lifetime,
}: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): Routing {
  /** The rules and routes that these commands list; `undefined`: one of them was refused. One process, for its start costs more. */
  const list = async (
    family: Family,
    commands: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly RuleOrRoute[] | undefined> => {
    const stdin = commands.map((command) => `${command}\n`).join('');
    const answer = await exec.run('ip', [...argsOf(family), '-'], { stdin, signal }).catch(refusalOf);
    if (answer instanceof ExecError) return undefined;
    const answers = answer.stdout.split('\n').filter((line) => line.trim() !== ''); // a line for each command
    return answers.flatMap((line) => jsonAnswer('ip', line) as readonly RuleOrRoute[]);
  };

  /**
   * The commands that add what is missing. Reads the rules: `ip route get` of an address that is local anyway would not use them.
   * `undefined` if the kernel has no rules of this family.
   */
  const missing = async (family: Family, signal: AbortSignal): Promise<readonly string[] | undefined> => {
    // Routes are refused if there is no such table.
    const all = (await list(family, [rules, routes], signal)) ?? (await list(family, [rules], signal));
    return all && [...(hasRule(all) ? [] : [`rule add ${rule}`]), ...(hasRoute(all) ? [] : [`route replace ${route}`])];
  };

  /** Processes that stay open: rules that were in force are read again each half minute, and a start costs as much as all else. */
  const open = new Map<Family, LineDialogue>();
  const dialogueOf = (family: Family): LineDialogue => {
    const known = open.get(family);
    if (known !== undefined) return known;
    const made = makeLineDialogue({
      name: 'ip -batch -',
      start: () => exec.spawn('ip', [...argsOf(family), '-'], lifetime),
      answerMs,
      clock,
    });
    open.set(family, made);
    return made;
  };
  const inForce = new Set<Family>();
  /** False also if it is not known. */
  const isStillInForce = async (family: Family, signal: AbortSignal): Promise<boolean> => {
    if (!inForce.has(family)) return false;
    try {
      return isComplete(await dialogueOf(family).ask(`${rules}\n${routes}\n`, readTwo, signal));
    } catch {
      signal.throwIfAborted();
      return false; // it was refused, or has ended: the next question starts another
    }
  };

  /** Runs every line, also after one that failed. */
  const change = async (
    family: Family,
    lines: readonly string[],
    signal: AbortSignal,
  ): Promise<ExecError | undefined> => {
    const stdin = lines.map((line) => `${line}\n`).join('');
    return await exec
      .run('ip', [`-${family}`, '-force', '-batch', '-'], { stdin, signal })
      .then(() => undefined, refusalOf);
  };

  const put = async (family: Family, signal: AbortSignal): Promise<boolean> => {
    if (await isStillInForce(family, signal)) return false;
    inForce.delete(family);
    const lines = await missing(family, signal);
    if (lines?.length === 0) inForce.add(family);
    if (lines === undefined || lines.length === 0) return false;
    // Only what is missing: each change is an event of the kernel, which starts another attempt.
    const failure = await change(family, lines, signal);
    if ((await missing(family, signal))?.length !== 0) {
      if (failure?.stderr.includes(ipv6IsOff) === true) return false;
      throw new ExecError(`ip -${family} rule add ${rule}`, undefined, failure?.stderr ?? 'not in force');
    }
    inForce.add(family);
    return true;
  };

  return {
    ensure: async (signal) => {
      const [four, six] = await Promise.all([put(4, signal), put(6, signal)]);
      return [...(four ? [4 as const] : []), ...(six ? [6 as const] : [])];
    },
    remove: async (signal) => {
      let wasThere = false;
      inForce.clear();
      for (const family of families) {
        wasThere = (await missing(family, signal))?.length === 0 || wasThere;
        await change(family, [`rule delete ${rule}`, `route delete ${route}`], signal); // fails if there is none
      }
      return wasThere;
    },
  };
}

function argsOf(family: Family): readonly string[] {
  return [`-${family}`, '-json', '-batch'];
}

/** A line for each of the two commands; `undefined`: one of them was refused. */
async function readTwo(lines: AsyncIterator<string>): Promise<readonly RuleOrRoute[] | undefined> {
  const all: RuleOrRoute[] = [];
  for (let count = 0; count < 2; count++) {
    const line = await lines.next();
    if (line.done === true) return undefined;
    all.push(...(jsonAnswer('ip', line.value) as readonly RuleOrRoute[]));
  }
  return all;
}

function isComplete(all: readonly RuleOrRoute[]): boolean {
  return hasRule(all) && hasRoute(all);
}

function hasRule(all: readonly RuleOrRoute[]): boolean {
  return all.some(
    ({ fwmark, fwmask, table }) =>
      Number(fwmark) === markBit && Number(fwmask ?? fwmark) === markBit && table === routeTable,
  );
}

function hasRoute(all: readonly RuleOrRoute[]): boolean {
  return all.some(({ type, dst, dev }) => type === 'local' && dst === 'default' && dev === 'lo');
}

/** The fields of a rule or a route of `ip -json` that furiwake reads. */
type RuleOrRoute = {
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
  readonly type?: string;
  readonly dst?: string;
  readonly dev?: string;
};
