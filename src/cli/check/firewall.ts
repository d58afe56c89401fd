import type { Exec } from '../../ports/exec.ts';
import { type Finding, ok, warning } from './finding.ts';

/** `nft -j list …`, as far as it is read. */
type Chain = {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
};
/** An object with one key, the kind of the statement. */
type Statement = Readonly<Record<string, unknown>>;
type Rule = { readonly chain: string; readonly expr?: readonly Statement[] };
type Listed = { readonly chain?: Chain; readonly rule?: Rule };

/**
 * Packets for HAProxy pass the host's input chains with the Service's address and port as destination: a firewall that
 * drops all but known ports (ufw, firewalld, a hand-written one) drops the connections to Services.
 */
export async function checkFirewall(exec: Exec, signal: AbortSignal): Promise<readonly Finding[]> {
  const chains = (await list(exec, ['chains'], signal))
    .flatMap(({ chain }) => chain ?? [])
    .filter(({ table }) => table !== 'furiwake');
  const closed: Chain[] = [];
  for (const chain of chains.filter(({ hook }) => hook === 'input'))
    if (chain.policy === 'drop' || chain.table === 'firewalld' || (await endsInDrop(exec, chain, signal)))
      closed.push(chain);
  if (closed.length === 0) return [ok('no input chain of nftables drops by default')];
  return closed.map(({ family, table, name }) => {
    const tool =
      table === 'firewalld' ? 'firewalld' : chains.some((chain) => chain.name.startsWith('ufw-')) ? 'ufw' : undefined;
    const advice = {
      firewalld:
        'open the ports of the Services: firewall-cmd --permanent --add-port=80/tcp, or a zone for the clients with target ACCEPT',
      ufw: 'open the ports of the Services: ufw allow 80/tcp, or ufw default allow incoming',
      other: `accept the ports of the Services in this chain: the packets have the Service's address and port as destination`,
    }[tool ?? 'other'];
    return warning(
      `chain ${name} of table ${family} ${table}${tool === undefined ? '' : ` (${tool})`} may drop connections to Services`,
      advice,
    );
  });
}

async function list(exec: Exec, what: readonly string[], signal: AbortSignal): Promise<readonly Listed[]> {
  const { stdout } = await exec.run('nft', ['-j', 'list', ...what], { signal });
  return (JSON.parse(stdout) as { readonly nftables?: readonly Listed[] }).nftables ?? [];
}

/** The policy is accept, and the last rules drop or reject all packets that reach them. */
async function endsInDrop(exec: Exec, { family, table, name }: Chain, signal: AbortSignal): Promise<boolean> {
  const rules = (await list(exec, ['table', family, table], signal)).flatMap(({ rule }) => rule ?? []);
  const byChain = Map.groupBy(rules, ({ chain }) => chain);
  return fateIn(byChain, name) === 'dropped';
}

type Fate = 'dropped' | 'accepted' | 'passed';

/** The fate of a packet that matches no rule with a condition. The kernel allows no loops of jumps. */
function fateIn(rules: ReadonlyMap<string, readonly Rule[]>, chain: string): Fate {
  for (const { expr = [] } of rules.get(chain) ?? []) {
    const [statement, ...more] = expr.filter((each) => !isSideEffect(each));
    if (statement === undefined || more.length > 0) continue; // does nothing, or has a condition
    if ('drop' in statement || 'reject' in statement || isRefusingTarget(statement)) return 'dropped';
    if ('accept' in statement) return 'accepted';
    if ('return' in statement) return 'passed';
    const target = (statement['jump'] ?? statement['goto']) as { readonly target?: string } | undefined;
    if (target?.target === undefined) continue;
    const fate = fateIn(rules, target.target);
    if (fate !== 'passed' || 'goto' in statement) return fate;
  }
  return 'passed';
}

function isSideEffect(statement: Statement): boolean {
  return 'counter' in statement || 'log' in statement;
}

/** Targets of iptables-nft that nft cannot express itself. */
function isRefusingTarget(statement: Statement): boolean {
  const { type, name } = (statement['xt'] ?? {}) as { readonly type?: string; readonly name?: string };
  return type === 'target' && (name === 'REJECT' || name === 'DROP');
}
