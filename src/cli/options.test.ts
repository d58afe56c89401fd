import { afterEach, describe, expect, test, vi } from 'vitest';
import { formatRange } from '../core/ip/range.ts';
import { decodeOptions } from './options.ts';
import { type Invocation, readCommandLine } from './program.ts';

afterEach(() => vi.unstubAllEnvs());

/** What a command line asks for, or how it is refused, and what was printed. */
function read(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly invocation: Invocation | { readonly code: string; readonly message: string }; readonly printed: string } {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value); // commander reads the process's own
  let printed = '';
  const write = (text: string): void => {
    printed += text;
  };
  try {
    return {
      invocation: readCommandLine(args, { version: '1.2.3', env, columns: 100, write, writeError: write }),
      printed,
    };
  } catch (error) {
    return { invocation: error as Error & { code: string }, printed };
  }
}

describe('the flags', () => {
  test('have defaults that need nothing else', () => {
    expect(decodeOptions({})).toEqual({
      kubeconfig: undefined,
      context: undefined,
      leaseNamespace: 'furiwake-system',
      loadBalancerClass: 'furiwake.dev/haproxy',
      takesDefaultClass: true,
      namespaces: undefined,
      stateDir: '/var/lib/furiwake',
      addresses: undefined,
      reservedPorts: new Set([22]),
      defaults: [],
      idleTimeoutSeconds: 3600,
      directIdleSeconds: 10_800,
      nodeSilenceSeconds: 15,
      onLeaseLoss: 'withdraw',
      metricsAddress: { host: '127.0.0.1', port: 9470 },
      stopsTrafficOnExit: false,
    });
  });

  test('read addresses that Services must request, apart from all others', () => {
    const { addresses = [] } = decodeOptions({
      addresses: '192.0.2.0/29, on-request:192.0.2.4-192.0.2.5,on-request:192.0.2.9',
    });
    expect(addresses.map((range) => [formatRange(range), range.isOnRequest])).toEqual([
      ['192.0.2.0-192.0.2.3', undefined],
      ['192.0.2.6-192.0.2.7', undefined],
      ['192.0.2.4-192.0.2.5', true],
      ['192.0.2.9', true],
    ]);
  });

  test('read pools with names, apart from all others', () => {
    const { addresses = [] } = decodeOptions({
      addresses: '192.0.2.0/28,web=192.0.2.8/30,dns=on-request:192.0.2.14,web=192.0.2.12,web=2001:db8::8',
    });
    expect(addresses.map((range) => [range.name, formatRange(range), range.isOnRequest])).toEqual([
      [undefined, '192.0.2.0-192.0.2.7', undefined],
      [undefined, '192.0.2.13', undefined],
      [undefined, '192.0.2.15', undefined],
      ['web', '192.0.2.8-192.0.2.12', undefined],
      ['web', '2001:db8::8', undefined],
      ['dns', '192.0.2.14', true],
    ]);
  });

  test.each([
    [
      'web=192.0.2.8/29,dns=on-request:192.0.2.15-192.0.2.20',
      '192.0.2.15-192.0.2.20 of pool dns overlaps 192.0.2.8-192.0.2.15 of pool web',
    ],
    ['Web=192.0.2.8', '"Web" is not a name of a pool'],
    ['=192.0.2.8', '"" is not a name of a pool'],
    ['web=', '"" is not an address, CIDR or range'],
    ['on-request:web=192.0.2.8', '"on-request:web" is not a name of a pool'],
  ])('refuse the pools %s', (addresses, words) => {
    expect(() => decodeOptions({ addresses })).toThrow(words);
  });

  test('take addresses in every form, and merge them', () => {
    const { addresses = [] } = decodeOptions({
      addresses: '192.0.2.10-192.0.2.20, 192.0.2.21,203.0.113.0/30,2001:db8::/126',
    });
    expect(addresses.map(formatRange)).toEqual([
      '192.0.2.10-192.0.2.21',
      '203.0.113.0-203.0.113.3',
      '2001:db8::1-2001:db8::3',
    ]);
  });

  test.each([
    ['--idle-timeout', '1h', 'expected seconds from 1 to 2000000, e.g. 3600'],
    ['--idle-timeout', '0', 'expected seconds from 1 to 2000000, e.g. 3600'],
    ['--direct-idle-timeout', '59', 'expected seconds from 60 to 2000000, e.g. 10800'],
    ['--node-silence-timeout', '2', 'expected seconds from 3 to 2000000, e.g. 15'],
    ['--on-lease-loss', 'panic', 'expected withdraw or keep'],
    ['--kubeconfig', '', 'expected the path of a file'],
    ['--context', '', 'expected the name of a context'],
    ['--addresses', '192.0.2.300', '"192.0.2.300" is not an address, CIDR or range; write for example '],
    [
      '--addresses',
      '192.0.2.1,192.0.2.20-192.0.2.10',
      '192.0.2.20-192.0.2.10: the first address is above the last one',
    ],
    ['--addresses', '1::2-1::3-1::4', '"1::2-1::3-1::4" is not an address, CIDR or range; write for example '],
    ['--addresses', '192.0.2.200/28', '192.0.2.200/28 has host bits set; write 192.0.2.192/28'],
    ['--addresses', '0.0.0.0/0', '0.0.0.0/0: no Service can have "this network" addresses (0.0.0.0/8)'],
    ['--addresses', '192.0.2.1,'.repeat(10_000), 'the list has 10000 entries, and at most 1000 are possible'],
    ['--addresses', ' , ', 'the list is empty: name at least one entry'],
    ['--addresses', '', 'the list is empty: name at least one entry; leave the flag out for the default'],
    ['--load-balancer-class', 'a b', 'expected a label-style name, e.g. furiwake.dev/haproxy'],
    ['--default-class', 'maybe', 'expected yes or no'],
    ['--namespaces', 'Default', 'expected names of namespaces (RFC 1123 labels) with commas between, e.g. shop,web'],
    ['--lease-namespace', 'x'.repeat(64), 'expected the name of a namespace (RFC 1123 label)'],
    ['--stop-traffic-on-exit', 'perhaps', 'expected yes or no'],
    ['--reserved-ports', '22,70000', 'expected ports from 1 to 65535 with commas between, e.g. 22,9100'],
    ['--reserved-ports', 'ssh', 'expected ports from 1 to 65535 with commas between, e.g. 22,9100'],
    ['--state-dir', 'relative', 'expected an absolute path of at most 80 letters, digits and / _ . -'],
    ['--state-dir', '/', 'expected an absolute path'],
    ['--state-dir', '/with blank', 'expected an absolute path'],
    ['--state-dir', `/${'x'.repeat(90)}`, 'expected an absolute path'],
    ['--metrics-address', '9470', 'expected host:port, e.g. 127.0.0.1:9470, [::]:9470 or none'],
    ['--metrics-address', '::1:9470:x', 'expected host:port'],
    ['--default-annotation', 'furiwake.dev/backends', 'expected NAME=VALUE, e.g. furiwake.dev/backends=pods'],
    ['--default-annotation', 'balance=source', 'expected NAME=VALUE, e.g. furiwake.dev/backends=pods'],
    ['--default-annotation', 'furiwake.dev/pool=web', 'annotation furiwake.dev/pool cannot have a default'],
    ['--default-annotation', 'furiwake.dev/balance=a furiwake.dev/balance=b', 'furiwake.dev/balance has two values'],
    [
      '--default-annotation',
      'furiwake.dev/idle-timeout=30',
      'annotation furiwake.dev/idle-timeout="30" (valid: 1s to 24h; units: ms, s, m, h)',
    ],
    ['--log-level', 'loud', 'expected debug, info, warn or error'],
  ])('%s %s is refused on one line that says what is expected', (flag, value, words) => {
    const { invocation } = read(['run', flag, value]);
    expect(invocation).toMatchObject({ code: 'USAGE' });
    expect('message' in invocation && invocation.message).toContain(`${flag}: ${words}`);
    expect('message' in invocation && invocation.message).toMatch(/^invalid (value "[^\n]*" for )?--[^\n]*$/);
  });

  test.each([
    ['127.0.0.1:9470', { host: '127.0.0.1', port: 9470 }],
    ['[::1]:9470', { host: '::1', port: 9470 }],
    [':9470', { host: '::', port: 9470 }],
    ['none', undefined],
  ])('--metrics-address %s', (metricsAddress, expected) => {
    expect(decodeOptions({ metricsAddress }).metricsAddress).toEqual(expected);
  });
});

describe('the environment', () => {
  test('has a variable for each flag; the flag wins', () => {
    const env = { FURIWAKE_IDLE_TIMEOUT: '60', FURIWAKE_NAMESPACES: 'shop,web' };
    expect(read(['run'], env).invocation).toMatchObject({
      options: { idleTimeoutSeconds: 60, namespaces: new Set(['shop', 'web']) },
    });
    expect(read(['run', '--idle-timeout', '5'], env).invocation).toMatchObject({ options: { idleTimeoutSeconds: 5 } });
  });

  test('holds several default annotations with spaces between; the flag is repeated', () => {
    const [pods, nat] = ['furiwake.dev/backends=pods', 'furiwake.dev/dataplane=nat'];
    const both = [
      ['furiwake.dev/backends', 'pods'],
      ['furiwake.dev/dataplane', 'nat'],
    ];
    const env = { FURIWAKE_DEFAULT_ANNOTATION: `${pods} ${nat}` };
    const defaultsOf = (args: readonly string[], variables: typeof env | Record<string, never>): unknown => {
      const { invocation } = read(['run', ...args], variables);
      return 'options' in invocation ? invocation.options.defaults : invocation;
    };
    expect(defaultsOf([], {})).toEqual([]);
    expect(defaultsOf([], env)).toEqual(both);
    expect(defaultsOf(['--default-annotation', pods, '--default-annotation', nat], {})).toEqual(both);
    expect(defaultsOf(['--default-annotation', nat], env)).toEqual(both.slice(1));
  });

  test('is named where its value is refused', () => {
    expect(read(['run'], { FURIWAKE_IDLE_TIMEOUT: '1h' }).invocation).toMatchObject({
      code: 'USAGE',
      message: 'invalid value "1h" for FURIWAKE_IDLE_TIMEOUT: expected seconds from 1 to 2000000, e.g. 3600',
    });
  });

  test('is refused where its value is empty, with the advice to remove it', () => {
    expect(read(['run'], { FURIWAKE_ADDRESSES: '' }).invocation).toMatchObject({
      message:
        'invalid FURIWAKE_ADDRESSES: the list is empty: name at least one entry; leave the variable out for the default',
    });
  });

  test.each([
    ['FURIWAKE_ADRESSES', 'unknown environment variable FURIWAKE_ADRESSES. Did you mean FURIWAKE_ADDRESSES?'],
    ['FURIWAKE_STATEDIR', 'unknown environment variable FURIWAKE_STATEDIR. Did you mean FURIWAKE_STATE_DIR?'],
    ['FURIWAKE_POOL', 'unknown environment variable FURIWAKE_POOL. See docs/flags.md for all of them'],
    ['FURIWAKE_CLUSTER', 'unknown environment variable FURIWAKE_CLUSTER'], // cleanup --cluster must be typed
  ])('with an unknown %s is refused', (name, message) => {
    const others = [['drain', 'n1'], ['undrain', 'n1'], ['connections']];
    for (const args of [['run'], ['check'], ['cleanup'], ['status'], ...others])
      expect(read(args, { [name]: 'x' }).invocation).toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining(message),
      });
  });

  test('may hold the variables of other commands, and those of other programs', () => {
    const env = {
      FURIWAKE_ADDRESSES: '192.0.2.1',
      FURIWAKE_STOP_TRAFFIC_ON_EXIT: 'yes',
      FURIWAKE_LAB_BIN: '/x', // of the lab
      KUBECONFIG: '/x',
      PATH: '/bin',
    };
    expect(read(['status'], env).invocation).toMatchObject({ command: 'status' });
    expect(read(['cleanup'], env).invocation).toMatchObject({ command: 'cleanup', options: { addresses: undefined } });
  });
});

describe('the commands', () => {
  test.each<[readonly string[], object]>([
    [['run'], { command: 'run', log: { level: 'info', format: undefined } }],
    [['check', '-o', 'json'], { command: 'check', isJson: true }],
    [['cleanup'], { command: 'cleanup', isCluster: false }],
    [['cleanup', '--cluster'], { command: 'cleanup', isCluster: true }],
    [['status', '--state-dir', '/srv/x/'], { command: 'status', stateDir: '/srv/x', isJson: false }],
    [['status', 'shop/web.v2', '-w', '-o', 'json'], { service: 'shop/web.v2', isWatched: true, isJson: true }],
    [['drain', 'n1'], { command: 'drain', target: 'n1', stateDir: '/var/lib/furiwake' }],
    [['undrain', 'shop/web'], { command: 'undrain', target: 'shop/web' }],
    [['version'], { command: 'version' }],
  ])('%j', (args, expected) => {
    expect(read(args)).toMatchObject({ invocation: expected, printed: '' });
  });

  test.each(['web', 'shop/', 'shop/web/x', 'shop/We b', '/web'])('status %j is refused', (name) => {
    expect(read(['status', name]).invocation).toMatchObject({
      code: 'USAGE',
      message: `invalid Service "${name}": expected namespace/name, e.g. shop/web`,
    });
  });

  test.each([
    [['--version'], 0, '1.2.3\n'],
    [['-v'], 0, '1.2.3\n'],
    [['-V'], 0, '1.2.3\n'],
    [['run', '--help'], 0, 'Run the load balancer. Traffic keeps flowing after furiwake stops.'],
    [[], 2, 'Usage: furiwake'],
    [['--help'], 0, 'docs/flags.md'],
    [['help'], 0, 'FURIWAKE_'],
    [['rum'], 2, 'Did you mean run?'],
    [['help', 'rum'], 2, 'Did you mean run?'],
    [['help', 'status'], 0, 'Usage: furiwake status'],
    [['drain'], 2, "See 'furiwake drain --help'."],
    [['run', '--adresses', 'x'], 2, '(Did you mean --addresses?)'],
    [['cleanup', '--idle-timeout', '5'], 2, "unknown option '--idle-timeout'"],
  ])('%j ends with %d', (args, exitCode, printed) => {
    const answer = read(args);
    expect(answer.invocation).toEqual({ command: 'none', exitCode });
    expect(answer.printed).toContain(printed);
  });

  test('help groups the flags, names the variables, and shows an example', () => {
    const { printed } = read(['run', '--help']);
    expect(printed.match(/^\w+:$/gm)).toEqual([
      'Cluster:',
      'Services:',
      'Host:',
      'Addresses:',
      'Traffic:',
      'Log:',
      'Options:',
      'Examples:',
    ]);
    expect(printed).toContain('$KUBECONFIG');
    expect(printed).toContain('FURIWAKE_ADDRESSES');
    expect(printed.replaceAll(/\s+/g, ' ')).toContain(
      '(default: no, without a value: yes, env: FURIWAKE_STOP_TRAFFIC_ON_EXIT)',
    );
    expect(printed).toMatch(/shop,web\n$/);
  });

  test('check takes all flags of run; its help shows those that it checks', () => {
    const args = ['--idle-timeout', '5', '--on-lease-loss', 'keep', '--stop-traffic-on-exit'];
    expect(read(['check', ...args])).toMatchObject({ invocation: { command: 'check' }, printed: '' });
    const { printed } = read(['check', '--help']);
    expect(printed).toContain('--metrics-address');
    expect(printed).not.toMatch(/--idle-timeout|--node-silence-timeout|--on-lease-loss|--stop-traffic-on-exit/);
  });
});
