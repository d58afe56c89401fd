import { describe, expect, test, vi } from 'vitest';
import { makeRouting } from '../../src/dataplane/nftables/routing.ts';
import { readInterfaces } from '../../src/host/interfaces.ts';
import { watchNetwork } from '../../src/host/kernel-events.ts';
import { makeIpSession } from '../../src/host/ip-session.ts';
import { readRoutes } from '../../src/host/routes.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import { patience } from '../netns/patience.ts';

/** The programs of a host that has only lo, which is up. */
export type IpScene = AsyncDisposable & { readonly exec: Exec };

const { signal } = new AbortController();
const forever4 = 'scope link valid_lft forever preferred_lft forever';
const forever6 = 'valid_lft forever preferred_lft 0 nodad metric 8201';

function makeDialogue(exec: Exec) {
  const session = makeIpSession({ exec, clock: systemClock, lifetime: signal });
  /** The errors of the commands, with the numbers of those that were refused. */
  const run = async (flags: readonly string[], commands: readonly string[]): Promise<string> => {
    const stdin = commands.map((command) => `${command}\n`).join('');
    const result = await exec
      .run('ip', [...flags, '-batch', '-'], { stdin, signal })
      .catch((error: unknown) => error as ExecError);
    if (!(result instanceof ExecError)) return result.stdout;
    expect(result.exitCode).toBe(1);
    return result.stderr;
  };
  return {
    exec,
    /** Ends at the first refused command. */
    run: (...commands: readonly string[]) => run([], commands),
    /** Runs all. */
    force: (...commands: readonly string[]) => run(['-force'], commands),
    /** In the process that stays open. */
    tell: async (...commands: readonly string[]) =>
      await session.run(commands, signal).then(
        () => '',
        (error: unknown) => (error as ExecError).stderr,
      ),
    /** Each address, with what furiwake reads of it. */
    addresses: async (name: string) => {
      const link = (await readInterfaces(exec, signal)).find((each) => each.name === name);
      return link?.addresses
        .map(({ ip, prefixLength, expires, isMarked, isPreferred }) =>
          [`${ip.text}/${prefixLength}`, expires && 'expires', isMarked && 'marked', isPreferred && 'preferred']
            .filter(Boolean)
            .join(' '),
        )
        .sort();
    },
  };
}

type Dialogue = ReturnType<typeof makeDialogue>;

const [one, other] = [
  `address add 192.0.2.50/32 dev f0 ${forever4}`,
  `address add 192.0.2.51/32 dev f0 ${forever4}`,
] as const;

const sentences: Readonly<Record<string, (ip: Dialogue) => Promise<void>>> = {
  'an address is added once; ip ends at the first refused command unless it is forced': async (ip) => {
    expect(await ip.run(one)).toBe('');
    expect(await ip.run(one, other)).toBe('Error: ipv4: Address already assigned.\nCommand failed -:1\n');
    expect(await ip.addresses('f0')).toEqual(['192.0.2.50/32 preferred']);
    expect(await ip.force(one, other)).toBe('Error: ipv4: Address already assigned.\nCommand failed -:1\n');
    expect(await ip.addresses('f0')).toEqual(['192.0.2.50/32 preferred', '192.0.2.51/32 preferred']);
    const six = `address add 2001:db8::50/128 dev f0 ${forever6}`;
    expect(await ip.run(six)).toBe('');
    expect(await ip.run(six)).toBe('Error: ipv6: address already assigned.\nCommand failed -:1\n');
    expect(await ip.addresses('f0')).toContain('2001:db8::50/128 marked');
  },
  'the process that stays open answers on success, and ends at the first refused command': async (ip) => {
    expect(await ip.tell(one)).toBe('');
    expect(await ip.tell(one, other)).toBe('Error: ipv4: Address already assigned.\nCommand failed -:3\n');
    expect(await ip.tell(other)).toBe('');
    expect(await ip.addresses('f0')).toHaveLength(2);
  },
  'an address is deleted once, with its own prefix': async (ip) => {
    await ip.run(`address add 192.0.2.50/32 dev f0 ${forever4}`, `address add 2001:db8::50/128 dev f0 ${forever6}`);
    expect(await ip.run('address delete 192.0.2.50/24 dev f0')).toContain('Error: ipv4: Address not found.');
    const deletions = ['address delete 192.0.2.50/32 dev f0', 'address delete 2001:db8::50/128 dev f0'];
    expect(await ip.force(...deletions)).toBe('');
    expect(await ip.force(...deletions)).toBe(
      'Error: ipv4: Address not found.\nCommand failed -:1\nError: ipv6: address not found.\nCommand failed -:2\n',
    );
    expect(await ip.addresses('f0')).toEqual([]);
  },
  'a change gives an address another lifetime and the mark, and adds one that is missing': async (ip) => {
    await ip.run(
      `address add 192.0.2.50/32 dev f0 ${forever4}`,
      'address add 2001:db8::50/128 dev f0 valid_lft forever preferred_lft 0 nodad',
    );
    expect(
      await ip.force(
        'address change 192.0.2.50/32 dev f0 scope link valid_lft 60 preferred_lft 60',
        `address change 2001:db8::50/128 dev f0 valid_lft 60 preferred_lft 0 nodad metric 8201`,
        'address change 192.0.2.51/32 dev f0 scope link valid_lft 60 preferred_lft 60',
        `address change 2001:db8::51/128 dev f0 ${forever6}`,
      ),
    ).toBe('');
    expect(await ip.addresses('f0')).toEqual([
      '192.0.2.50/32 expires preferred',
      '192.0.2.51/32 expires preferred',
      '2001:db8::50/128 expires marked',
      '2001:db8::51/128 marked',
    ]);
    await ip.force(`address change 192.0.2.50/32 dev f0 ${forever4}`);
    expect(await ip.addresses('f0')).toContain('192.0.2.50/32 preferred');
  },
  'an address is gone after its lifetime': async (ip) => {
    await ip.run(
      'address add 192.0.2.50/32 dev f0 scope link valid_lft 1 preferred_lft 1',
      `address add 2001:db8::50/128 dev f0 valid_lft 1 preferred_lft 0 nodad metric 8201`,
    );
    await vi.waitUntil(async () => (await ip.addresses('f0'))?.length === 0, patience);
  },
  'an interface is created once; with it go its addresses; commands about a missing one are refused': async (ip) => {
    expect(await ip.run('link add f0 type bridge')).toBe('RTNETLINK answers: File exists\nCommand failed -:1\n');
    await ip.run(`address add 192.0.2.50/32 dev f0 ${forever4}`);
    expect(await ip.run('link delete f0')).toBe('');
    const missing = 'Cannot find device "f0"\nCommand failed -:';
    expect(
      await ip.force(
        `address add 192.0.2.50/32 dev f0 ${forever4}`,
        'address delete 192.0.2.50/32 dev f0',
        'address change 192.0.2.50/32 dev f0 scope link valid_lft 60 preferred_lft 60',
        'link set f0 up',
        'link set f0 addrgenmode none',
        'link delete f0',
      ),
    ).toBe([1, 2, 3, 4, 5, 6].map((number) => `${missing}${number}\n`).join(''));
    expect(await ip.addresses('f0')).toBeUndefined();
    expect(await ip.run('link add f0 type bridge')).toBe('');
    expect(await ip.addresses('f0')).toEqual([]);
  },
  'an interface that goes down keeps its addresses of IPv4 and loses those of IPv6': async (ip) => {
    await ip.run(`address add 192.0.2.50/32 dev f0 ${forever4}`, `address add 2001:db8::50/128 dev f0 ${forever6}`);
    await ip.run('link set f0 down');
    expect(await ip.addresses('f0')).toEqual(['192.0.2.50/32 preferred']);
    expect((await readInterfaces(ip.exec, signal)).find(({ name }) => name === 'f0')?.isUp).toBe(false);
    await ip.run('link set f0 up');
    expect((await readInterfaces(ip.exec, signal)).find(({ name }) => name === 'f0')?.isUp).toBe(true);
  },
  'rules and routes of the mark are added once, listed, and removed': async ({ exec, force }) => {
    const routing = makeRouting({ exec, clock: systemClock, lifetime: signal });
    expect(await routing.ensure(signal)).toEqual([4, 6]);
    expect(await routing.ensure(signal)).toEqual([]);
    const later = makeRouting({ exec, clock: systemClock, lifetime: signal });
    expect(await later.ensure(signal)).toEqual([]);
    const rule = 'priority 82 fwmark 8192/8192 lookup 8192';
    expect(await force(`rule add ${rule}`)).toBe('RTNETLINK answers: File exists\nCommand failed -:1\n');
    await force(`rule delete ${rule}`);
    expect(await routing.ensure(signal)).toEqual([4]);
    await force('route delete local default dev lo table 8192');
    expect(await routing.ensure(signal)).toEqual([4]);
    expect([await routing.remove(signal), await routing.remove(signal)]).toEqual([true, false]);
    expect(await routing.ensure(signal)).toEqual([4, 6]);
  },
  'the watch reports addresses that are added and removed, also with their interface or its end': async (ip) => {
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const event of watchNetwork(ip.exec, stop.signal))
        seen.push('address' in event ? `${event.kind} ${event.address}/${event.prefixLength}` : event.kind);
    })();
    const mark = '198.51.100.1/32';
    /** What is reported until the mark is, and until `late`: the kernel reports a new IPv6 address from a task of its own. */
    const after = async (command: string, late = `removed ${mark}`): Promise<readonly string[]> => {
      seen.length = 0;
      await ip.run(command, `address add ${mark} dev lo`, `address delete ${mark} dev lo`);
      await vi.waitUntil(() => seen.includes(`removed ${mark}`) && seen.includes(late), patience);
      return seen.filter((event) => /192\.0\.2|2001:db8|gone/.test(event)).sort();
    };
    await vi.waitUntil(() => seen.includes('unsure'), patience);
    const [four, six] = ['192.0.2.50/32', '2001:db8::50/128'];
    expect(await after(`address add ${four} dev f0 ${forever4}`)).toEqual([`added ${four}`]);
    expect(await after(`address add ${six} dev f0 ${forever6}`, `added ${six}`)).toEqual([`added ${six}`]);
    expect(await after(`address delete ${four} dev f0`)).toEqual([`removed ${four}`]);
    expect(await after('link set f0 down')).toEqual([`removed ${six}`]);
    for (const command of ['link set f0 up', `address add ${four} dev f0 ${forever4}`]) await after(command);
    expect(await after(`address add ${six} dev f0 ${forever6}`, `added ${six}`)).toEqual([`added ${six}`]);
    expect(await after('link delete f0')).toEqual(['link gone', `removed ${four}`, `removed ${six}`].sort());
    stop.abort();
    await watching;
  },
  'a host without routes has empty lists': async ({ exec }) => {
    expect(await readRoutes(exec, signal)).toEqual({ 4: [], 6: [] });
  },
};

/** The contract of `ip`, for the real one and the one in memory. */
export function ipCommandsContract(name: string, makeScene: () => Promise<IpScene>): void {
  describe(`ip ${name}`, () => {
    test.each(Object.entries(sentences))('%s', async (_, say) => {
      await using scene = await makeScene();
      const ip = makeDialogue(scene.exec);
      expect(await ip.run('link add f0 type bridge', 'link set f0 addrgenmode none', 'link set f0 up')).toBe('');
      await expect(say(ip)).resolves.toBeUndefined();
    });
  });
}
