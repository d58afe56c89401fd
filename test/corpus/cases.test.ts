import { expect, test } from 'vitest';
import { readPage, tableRows } from '../../tools/page.ts';
import { type Case, type Need, parseCase, readCases } from './cases.ts';
import { requestedBy } from './seen.ts';

const cases = await readCases();

/** What the Services of a case ask for, by their fields. */
function needsOf({ services }: Case): readonly Need[] {
  const ports = services.flatMap(({ spec }) => spec.ports);
  const specs = services.map(({ spec }) => spec);
  const keys = new Set(services.flatMap(({ metadata }) => Object.keys(metadata.annotations)));
  const classes = specs.flatMap(({ loadBalancerClass }) => loadBalancerClass ?? []);
  const hasKey = (pattern: RegExp): boolean => [...keys].some((key) => pattern.test(key));
  const isDhcp = services.some((service) => requestedBy(service).includes('0.0.0.0'));
  const found: Readonly<Record<Need, boolean>> = {
    udp: ports.some(({ protocol }) => protocol === 'UDP'),
    sctp: ports.some(({ protocol }) => protocol === 'SCTP'),
    mixed: specs.some((spec) => new Set(spec.ports.map(({ protocol }) => protocol)).size > 1),
    'many-ports': specs.some((spec) => spec.ports.length > 12),
    'port-22': ports.some(({ port }) => port === 22),
    'dual-stack': specs.some(({ ipFamilies = [] }) => ipFamilies.length > 1),
    'request-field': !isDhcp && specs.some(({ loadBalancerIP }) => loadBalancerIP !== undefined),
    'request-annotation':
      !isDhcp && hasKey(/^(?:metallb\.io|metallb\.universe\.tf|kube-vip\.io)\/load[bB]alancerIPs$|\/ips$/),
    'pool-annotation': hasKey(/\/address-pool$/),
    shared: services.length > 1 && hasKey(/\/allow-shared-ip$|\/sharing-key$/),
    local: specs.some(({ externalTrafficPolicy }) => externalTrafficPolicy === 'Local'),
    hcnp: specs.some(({ healthCheckNodePort }) => healthCheckNodePort !== undefined),
    affinity: specs.some(({ sessionAffinity }) => sessionAffinity === 'ClientIP'),
    'source-ranges': specs.some(({ loadBalancerSourceRanges }) => loadBalancerSourceRanges !== undefined),
    'no-nodeports': specs.some(({ allocateLoadBalancerNodePorts }) => allocateLoadBalancerNodePorts === false),
    'fixed-nodeport': ports.some(({ nodePort }) => nodePort !== undefined),
    'no-selector': specs.some(({ selector }) => selector === undefined),
    'one-pod': specs.some(({ selector }) => selector?.['node'] !== undefined),
    class: classes.includes('furiwake.dev/haproxy'),
    'foreign-class': classes.some((name) => !name.startsWith('furiwake.dev/')),
    'proxy-protocol': ports.some(({ name }) => name.endsWith('-proxy')),
    dhcp: isDhcp,
    'hostname-annotation': hasKey(/^external-dns/),
  };
  return (Object.keys(found) as Need[]).filter((need) => found[need]);
}

test.each(cases)('the head of $name lists everything that its Services ask for', (one) => {
  expect([...one.needs].sort()).toEqual([...needsOf(one)].sort());
});

test('the names of Services are unique, and cases that request an address request different ones', () => {
  const names = cases.flatMap(({ services }) => services.map(({ metadata }) => metadata.name));
  expect(new Set(names).size).toBe(names.length);
  const requested = cases.flatMap(({ services }) => [...new Set(services.flatMap(requestedBy))]);
  expect(new Set(requested).size).toBe(requested.length);
});

test('the README lists every case as its file has it', () => {
  const rows = tableRows(readPage('test/corpus/README.md')).filter(([name]) => name?.startsWith('['));
  expect(rows.map(([name, what, , listed, metallb, source]) => [name, what, listed, metallb, source])).toEqual(
    cases.map(({ name, what, needs, metallb, source }) => [
      `[${name}](cases/${name}.yaml)`,
      what,
      needs.join(', ') || '—',
      metallb,
      source,
    ]),
  );
});

test.each([
  ['a head without needs', '# title\n# source: a\n# MetalLB: fully\n\nkind: Service\n'],
  ['an unknown need', '# title\n# needs: magic\n# source: a\n# MetalLB: fully\n\nkind: Service\n'],
  ['another kind', '# title\n# needs: udp\n# source: a\n# MetalLB: fully\n\nkind: Pod\n'],
])('%s is an error that names the case', (_, text) => {
  expect(() => parseCase('99-bad', text)).toThrow(/^case 99-bad: /);
});
