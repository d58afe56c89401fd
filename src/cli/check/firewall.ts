import { flowMark } from '../../dataplane/nftables/flow-mark.ts';
import { hex } from '../../dataplane/nftables/table-text.ts';
import { type Exec, jsonAnswer } from '../../ports/exec.ts';
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
type NftObject = { readonly chain?: Chain; readonly rule?: Rule };

/** Hooks whose chains see packets of Services: those for HAProxy, and those of `nat`. */
const hooks = ['input', 'forward'] as const;
type Hook = (typeof hooks)[number];
type Tool = 'firewalld' | 'ufw' | 'other';

const flowsOfNat = `ct mark and ${hex(flowMark)} == ${hex(flowMark)}`;
const matchOfNat = `-m connmark --mark ${hex(flowMark)}/${hex(flowMark)}`;

const traffic: Readonly<Record<Hook, string>> = {
  input: 'connections to Services',
  forward: 'UDP and SCTP packets of Services',
};
const advice: Readonly<Record<Hook, Readonly<Record<Tool, string>>>> = {
  input: {
    firewalld:
      'open the ports of the Services: firewall-cmd --permanent --add-port=80/tcp, or a zone for the clients with target ACCEPT',
    ufw: 'open the ports of the Services: ufw allow 80/tcp, or ufw default allow incoming',
    other:
      "accept the ports of the Services in this chain: the packets have the Service's address and port as destination",
  },
  forward: {
    firewalld:
      'if there are such Services, add a policy that accepts packets from the zone of the clients to that of the nodes',
    ufw: `if there are such Services, accept the flows of furiwake in /etc/ufw/before.rules: -A ufw-before-forward ${matchOfNat} -j ACCEPT`,
    other: `if there are such Services, accept the flows of furiwake in this chain: ${flowsOfNat} accept (iptables: ${matchOfNat} -j ACCEPT)`,
  },
};

/**
 * Packets for HAProxy pass the host's input chains with the Service's address and port as destination, and those of `nat` its
 * forward chains with a node's address and nodePort: a firewall that drops all but known ports (ufw, firewalld, a hand-written
 * one) drops them.
 */
export async function checkFirewall(exec: Exec, signal: AbortSignal): Promise<readonly Finding[]> {
  const chains = (await list(exec, ['chains'], signal))
    .flatMap(({ chain }) => chain ?? [])
    .filter(({ table }) => table !== 'furiwake' && table !== 'furiwake-nat');
  const closed: (readonly [Hook, Chain])[] = [];
  for (const hook of hooks)
    for (const chain of chains.filter((each) => each.hook === hook))
      if (chain.policy === 'drop' || chain.table === 'firewalld' || (await endsInDrop(exec, chain, signal)))
        closed.push([hook, chain]);
  if (closed.length === 0) return [ok('no input or forward chain of nftables drops by default')];
  return closed.map(([hook, { family, table, name }]) => {
    const tool: Tool =
      table === 'firewalld' ? 'firewalld' : chains.some((chain) => chain.name.startsWith('ufw-')) ? 'ufw' : 'other';
    return warning(
      `chain ${name} of table ${family} ${table}${tool === 'other' ? '' : ` (${tool})`} may drop ${traffic[hook]}`,
      advice[hook][tool],
    );
  });
}

async function list(exec: Exec, what: readonly string[], signal: AbortSignal): Promise<readonly NftObject[]> {
  const { stdout } = await exec.run('nft', ['-j', 'list', ...what], { signal });
  return (jsonAnswer('nft', stdout) as { readonly nftables?: readonly NftObject[] }).nftables ?? [];
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
