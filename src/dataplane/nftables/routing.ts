import type { Family } from '../../core/ip/ip.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { markBit } from './ruleset.ts';

/*
 * What brings a marked packet to this host's own sockets, whatever its destination: per family
 *
 *   82: from all fwmark 0x2000/0x2000 lookup 8192       before any rule that routes by source or interface
 *   table 8192: local default dev lo
 */
const routeTable = '8192';
const rule = `priority 82 fwmark ${markBit}/${markBit} lookup ${routeTable}`;
const route = `local default dev lo table ${routeTable}`;

/** Addresses of documentation (RFC 5737, RFC 3849): nobody's, so only our rule makes them local. */
const probes: Readonly<Record<Family, string>> = { 4: '203.0.113.1', 6: '2001:db8::1' };

/** The routing rules and routes behind the mark, of both families. */
export type Routing = {
  /** Puts back what is missing; the families where something was. Throws `ExecError` where that fails. */
  ensure(signal: AbortSignal): Promise<readonly Family[]>;
  /** Takes rules and routes away. */
  remove(signal: AbortSignal): Promise<void>;
};

export function makeRouting({ exec }: { readonly exec: Exec }): Routing {
  /** Asks the kernel where a marked packet would go: tells rule and route at once. */
  const isInForce = async (family: Family, signal: AbortSignal): Promise<boolean> => {
    const args = [`-${family}`, '-json', 'route', 'get', probes[family], 'mark', `${markBit}`];
    const stdout = await unlessRefused(exec.run('ip', args, { signal }));
    if (stdout === undefined) return false; // no route at all
    const found = JSON.parse(stdout) as readonly { readonly type?: string; readonly table?: string }[];
    return found.some(({ type, table }) => type === 'local' && table === routeTable);
  };

  /** Runs every line, whatever becomes of the others. */
  const change = async (
    family: Family,
    lines: readonly string[],
    signal: AbortSignal,
  ): Promise<ExecError | undefined> => {
    const stdin = lines.map((line) => `${line}\n`).join('');
    return await exec
      .run('ip', [`-${family}`, '-force', '-batch', '-'], { stdin, signal })
      .then(() => undefined, execError);
  };

  const put = async (family: Family, signal: AbortSignal): Promise<boolean> => {
    if (await isInForce(family, signal)) return false;
    // Half of it may be there: the rule is made anew, for `add` refuses one that exists.
    const failure = await change(family, [`rule delete ${rule}`, `rule add ${rule}`, `route replace ${route}`], signal);
    if (!(await isInForce(family, signal)))
      throw new ExecError(`ip -${family} rule add ${rule}`, undefined, failure?.stderr ?? 'not in force');
    return true;
  };

  return {
    ensure: async (signal) => {
      const [four, six] = [await put(4, signal), await put(6, signal)];
      return [...(four ? [4 as const] : []), ...(six ? [6 as const] : [])];
    },
    remove: async (signal) => {
      for (const family of [4, 6] as const)
        await change(family, [`rule delete ${rule}`, `route delete ${route}`], signal); // fails where there is none
    },
  };
}

function execError(error: unknown): ExecError {
  if (error instanceof ExecError) return error;
  throw error;
}

async function unlessRefused(run: Promise<{ readonly stdout: string }>): Promise<string | undefined> {
  return await run.then(
    ({ stdout }) => stdout,
    (error: unknown) => void execError(error),
  );
}
