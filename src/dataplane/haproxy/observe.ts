import type { Family } from '../../core/ip/ip.ts';
import type { ProxyObservation } from '../../ports/proxy.ts';
import { parseInfo, parseStat, parseTable, type ServerStat } from './answers.ts';
import type { Desired } from './desired.ts';
import type { FamilyHealth } from './health.ts';
import { entryKey } from './rows.ts';
import { statCommands } from './round.ts';
import type { Runtime } from './runtime.ts';
import { nodesBackend } from './servers.ts';

export async function observeProxy(
  runtime: Runtime,
  desired: Desired | undefined,
  health: { readonly [F in Family]: FamilyHealth },
  signal: AbortSignal,
): Promise<ProxyObservation> {
  const [info = '', ...answers] = await runtime.ask(['show info', ...statCommands, 'show table services'], signal);
  const process = parseInfo(info);
  const counts = new Map(parseTable(answers.pop() ?? '').map((count) => [count.key, count]));
  const stats = new Map<string, ServerStat>(
    answers.flatMap(parseStat).map((stat) => [`${stat.backend}/${stat.server}`, stat]),
  );
  return {
    pid: process.pid,
    version: process.version,
    connections: process.connections,
    maxConnections: process.maxConnections,
    servers: ([4, 6] as const).flatMap((family) =>
      (desired?.servers.nodes[family] ?? []).map((node) => {
        const stat = stats.get(`${nodesBackend(family)}/${node.node}`);
        return {
          node: node.node,
          family,
          state: health[family].stateOf(node, stat),
          connections: stat?.connections ?? 0,
          total: stat?.total ?? 0,
        };
      }),
    ),
    listeners: [...(desired?.table.rows.values() ?? [])].flatMap((row) => {
      const count = counts.get(entryKey(row));
      if (count === undefined || row.protocol !== 'TCP') return [];
      const { connections, total, bytesIn, bytesOut } = count;
      return [{ key: row.key, connections, total, bytesIn, bytesOut }];
    }),
    usesOwnProbe: { 4: !health[4].isChecked(), 6: !health[6].isChecked() },
  };
}
