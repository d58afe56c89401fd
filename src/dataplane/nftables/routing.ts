import type { Family } from '../../core/ip/ip.ts';
import { type Exec, ExecError, refusalOf } from '../../ports/exec.ts';
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

/** The routing rules and routes for the mark, of all families that the kernel supports. */
export type Routing = {
  /** Adds missing rules and routes. Resolves with the repaired families; throws `ExecError` if one is still missing. */
  ensure(signal: AbortSignal): Promise<readonly Family[]>;
  /** Removes rules and routes. No error when there are none. */
  remove(signal: AbortSignal): Promise<boolean>;
};

export function makeRouting({ exec }: { readonly exec: Exec }): Routing {
  /** The rules and routes that these commands list; `undefined`: one of them was refused. One process, for its start costs more. */
  const list = async (
    family: Family,
    commands: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly RuleOrRoute[] | undefined> => {
    const stdin = commands.map((command) => `${command}\n`).join('');
    const answer = await exec.run('ip', [`-${family}`, '-json', '-batch', '-'], { stdin, signal }).catch(refusalOf);
    if (answer instanceof ExecError) return undefined;
    const answers = answer.stdout.split('\n').filter((line) => line.trim() !== ''); // a line for each command
    return answers.flatMap((line) => JSON.parse(line) as readonly RuleOrRoute[]);
  };

  /**
   * Reads the rules: `ip route get` of an address that is local anyway would not use them.
   * `undefined` if the kernel has no rules of this family.
   */
  const isInForce = async (family: Family, signal: AbortSignal): Promise<boolean | undefined> => {
    const rules = `rule list priority ${rulePriority}`;
    const all = await list(family, [rules, `route list table ${routeTable}`], signal);
    // Routes are refused if there is no such table.
    if (all === undefined) return (await list(family, [rules], signal)) === undefined ? undefined : false;
    const isMarked = all.some(
      ({ fwmark, fwmask, table }) =>
        Number(fwmark) === markBit && Number(fwmask ?? fwmark) === markBit && table === routeTable,
    );
    return isMarked && all.some(({ type, dst, dev }) => type === 'local' && dst === 'default' && dev === 'lo');
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
    if ((await isInForce(family, signal)) !== false) return false;
    // A part may exist: the rule is deleted and added, because `add` refuses an existing one.
    const failure = await change(family, [`rule delete ${rule}`, `rule add ${rule}`, `route replace ${route}`], signal);
    if ((await isInForce(family, signal)) !== true)
      throw new ExecError(`ip -${family} rule add ${rule}`, undefined, failure?.stderr ?? 'not in force');
    return true;
  };

  return {
    ensure: async (signal) => {
      const [four, six] = await Promise.all([put(4, signal), put(6, signal)]);
      return [...(four ? [4 as const] : []), ...(six ? [6 as const] : [])];
    },
    remove: async (signal) => {
      let wasThere = false;
      for (const family of [4, 6] as const) {
        wasThere = (await isInForce(family, signal)) === true || wasThere;
        await change(family, [`rule delete ${rule}`, `route delete ${route}`], signal); // fails if there is none
      }
      return wasThere;
    },
  };
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
