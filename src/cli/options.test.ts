import { describe, expect, test } from 'vitest';
import { formatRange } from '../core/ip/range.ts';
import { UsageError } from '../daemon/errors.ts';
import { decodeOptions, type RawOptions } from './options.ts';

const defaults: RawOptions = {
  loadBalancerClass: 'furiwake.dev/haproxy',
  defaultClass: 'yes',
  leaseNamespace: 'furiwake-system',
  reservedPorts: '22',
  stateDir: '/var/lib/furiwake',
  idleTimeout: '3600',
  nodeSilenceTimeout: '15',
  onLeaseLoss: 'withdraw',
  metricsAddress: '127.0.0.1:9470',
  stopTrafficOnExit: 'no',
};

describe('the flags', () => {
  test('have defaults that need nothing else', () => {
    expect(decodeOptions(defaults)).toMatchObject({
      addresses: undefined,
      namespaces: undefined,
      takesDefaultClass: true,
      reservedPorts: new Set([22]),
    });
  });

  test('take addresses in every form, and merge them', () => {
    const { addresses = [] } = decodeOptions({
      ...defaults,
      addresses: '192.0.2.10-192.0.2.20, 192.0.2.21,203.0.113.0/30,2001:db8::/126',
    });
    expect(addresses.map(formatRange)).toEqual([
      '192.0.2.10-192.0.2.21',
      '203.0.113.0-203.0.113.3',
      '2001:db8::-2001:db8::3',
    ]);
  });

  test.each<[string, Partial<RawOptions>]>([
    ['--context', { context: '' }],
    ['--addresses', { addresses: '192.0.2.300' }],
    ['--addresses', { addresses: '192.0.2.20-192.0.2.10' }],
    ['--addresses', { addresses: ' , ' }],
    ['--load-balancer-class', { loadBalancerClass: 'a b' }],
    ['--default-class', { defaultClass: 'maybe' }],
    ['--namespaces', { namespaces: 'Default' }],
    ['--stop-traffic-on-exit', { stopTrafficOnExit: 'perhaps' }],
    ['--reserved-ports', { reservedPorts: '22,70000' }],
    ['--reserved-ports', { reservedPorts: 'ssh' }],
    ['--state-dir', { stateDir: 'relative' }],
    ['--state-dir', { stateDir: '/with blank' }],
    ['--state-dir', { stateDir: `/${'x'.repeat(90)}` }],
    ['--idle-timeout', { idleTimeout: '0' }],
    ['--metrics-address', { metricsAddress: '9470' }],
    ['--metrics-address', { metricsAddress: '::1:9470:x' }],
  ])('%s refuses %j, naming itself on one line', (flag, wrong) => {
    expect(() => decodeOptions({ ...defaults, ...wrong })).toThrow(UsageError);
    expect(() => decodeOptions({ ...defaults, ...wrong })).toThrow(new RegExp(`^${flag}: [^\n]+$`));
  });

  test.each([
    ['127.0.0.1:9470', { host: '127.0.0.1', port: 9470 }],
    ['[::1]:9470', { host: '::1', port: 9470 }],
    [':9470', { host: '::', port: 9470 }],
    ['none', undefined],
  ])('--metrics-address %s', (text, expected) => {
    expect(decodeOptions({ ...defaults, metricsAddress: text }).metricsAddress).toEqual(expected);
  });
});
