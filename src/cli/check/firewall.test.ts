import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { checkFirewall } from './firewall.ts';

type Rules = Readonly<Record<string, readonly (readonly object[])[]>>;

/** What is found on a host with one chain `INPUT`, at `hook` and of this policy, and these rules by chain. */
async function find({
  policy = 'accept',
  table = 'filter',
  hook = 'input',
  rules = {},
}: {
  readonly policy?: string;
  readonly table?: string;
  readonly hook?: string;
  readonly rules?: Rules;
}): Promise<readonly string[]> {
  const names = new Set(['INPUT', ...Object.keys(rules)]);
  const chains = [...names].map((name) => ({
    chain: { family: 'inet', table, name, ...(name === 'INPUT' ? { hook, policy } : {}) },
  }));
  const listed = Object.entries(rules).flatMap(([chain, each]) => each.map((expr) => ({ rule: { chain, expr } })));
  const exec = execOf((command) => {
    if (command === 'nft -j list chains') return JSON.stringify({ nftables: [{ metainfo: {} }, ...chains] });
    expect(command).toBe(`nft -j list table inet ${table}`);
    return JSON.stringify({ nftables: [{ metainfo: {} }, ...chains, ...listed] });
  });
  const findings = await checkFirewall(exec, new AbortController().signal);
  return findings.map(({ mark, found }) => `${mark}: ${found}`);
}

const open = ['ok: no input or forward chain of nftables drops by default'];
const closed = [expect.stringMatching(/^warning: chain INPUT of table inet filter may drop connections to Services$/)];
const counter = { counter: { packets: 1, bytes: 60 } };
const fromLan = { match: { op: '==', left: {}, right: '192.0.2.0/24' } };

test.each<[string, Parameters<typeof find>[0], unknown]>([
  ['no rules', {}, open],
  ['a policy that drops', { policy: 'drop' }, closed],
  ['its own table', { policy: 'drop', table: 'furiwake' }, open],
  ['its own table for nat', { policy: 'drop', table: 'furiwake-nat', hook: 'forward' }, open],
  ['a policy that drops what the host sends', { policy: 'drop', hook: 'output' }, open],
  [
    'a policy that drops what is forwarded',
    { policy: 'drop', hook: 'forward' },
    [expect.stringMatching(/^warning: chain INPUT of table inet filter may drop UDP and SCTP packets of Services$/)],
  ],
  [
    'a last rule that rejects',
    {
      rules: {
        INPUT: [
          [fromLan, { accept: null }],
          [counter, { reject: null }],
        ],
      },
    },
    closed,
  ],
  ['a last rule that logs and drops', { rules: { INPUT: [[{ log: null }, counter, { drop: null }]] } }, closed],
  ['a rule of iptables-nft', { rules: { INPUT: [[counter, { xt: { type: 'target', name: 'REJECT' } }]] } }, closed],
  ['a drop with a condition', { rules: { INPUT: [[fromLan, { drop: null }]] } }, open],
  [
    'a match of iptables-nft before a drop',
    { rules: { INPUT: [[{ xt: { type: 'match', name: 'conntrack' } }, { drop: null }]] } },
    open,
  ],
  ['a drop after all is accepted', { rules: { INPUT: [[{ accept: null }], [{ drop: null }]] } }, open],
  [
    'a chain that drops',
    { rules: { INPUT: [[fromLan, { accept: null }], [{ jump: { target: 'deny' } }]], deny: [[{ drop: null }]] } },
    closed,
  ],
  [
    'a chain that returns',
    {
      rules: {
        INPUT: [[{ jump: { target: 'log' } }], [{ accept: null }]],
        log: [[{ return: null }], [{ drop: null }]],
      },
    },
    open,
  ],
  [
    'a chain that does not return',
    { rules: { INPUT: [[{ goto: { target: 'log' } }], [{ drop: null }]], log: [[{ log: null }]] } },
    open,
  ],
  [
    'a chain that is jumped to sometimes',
    { rules: { INPUT: [[fromLan, { jump: { target: 'deny' } }]], deny: [[{ drop: null }]] } },
    open,
  ],
  [
    'firewalld',
    { table: 'firewalld' },
    [expect.stringMatching(/^warning: chain INPUT of table inet firewalld \(firewalld\) may drop/)],
  ],
  [
    'ufw',
    { policy: 'drop', rules: { 'ufw-before-input': [] } },
    [expect.stringMatching(/^warning: chain INPUT of table inet filter \(ufw\) may drop/)],
  ],
])('a host firewall: %s', async (_, scene, findings) => {
  expect(await find(scene)).toEqual(findings);
});
