import { bitsOf, type Family, type Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';
import { type Exec, refusalOf } from '../ports/exec.ts';
import { markMetric, type NetworkInterface, readInterfaces } from './interfaces.ts';
import { makeIpSession } from './ip-session.ts';

/** The kernel removes the address after so many seconds. */
export type LifetimeSeconds = number | 'forever';

/** An address, and the interface that has it or will have it. */
export type PlacedAddress = { readonly address: Ip; readonly on: string };

/** Changes the interfaces of this host and their addresses, through `ip`. All functions throw `ExecError` if it fails. */
export type Kernel = {
  /** Creates those of `missing`, and sets all up. */
  setUp(
    interfaces: { readonly missing: readonly string[]; readonly down: readonly string[] },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Adds all addresses that the kernel accepts. Resolves with the refused ones: text of the address → message of the
   * kernel.
   */
  add(
    places: readonly PlacedAddress[],
    lifetime: LifetimeSeconds,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>>;
  /** Gives these addresses another lifetime, and the mark of furiwake. A missing address does not affect the others. */
  extend(places: readonly PlacedAddress[], lifetime: LifetimeSeconds, signal: AbortSignal): Promise<void>;
  /** Deletes addresses, then interfaces. A refused one keeps no other; then it throws in the end. */
  remove(places: readonly PlacedAddress[], interfaces: readonly string[], signal: AbortSignal): Promise<void>;
};

const flagsOf: Readonly<Record<Family, (lifetime: LifetimeSeconds) => string>> = {
  4: (lifetime) => `scope link valid_lft ${lifetime} preferred_lft ${lifetime}`,
  6: (lifetime) => `valid_lft ${lifetime} preferred_lft 0 nodad metric ${markMetric}`,
};

/** The running `ip` ends with `lifetime`. */
export function makeKernel(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): Kernel {
  const { exec } = deps;
  const session = makeIpSession(deps);

  const ip = async (lines: readonly string[], signal: AbortSignal, flags: readonly string[] = []): Promise<void> => {
    await exec.run('ip', [...flags, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join(''), signal });
  };

  return {
    setUp: async ({ missing, down }, signal) => {
      const names = [...missing, ...down];
      if (names.length === 0) return;
      const create = (type: string): Promise<void> =>
        ip(
          missing.map((name) => `link add ${name} type ${type}`),
          signal,
          ['-force'],
        );
      // A kernel without dummy has bridges. If it has neither, the interfaces cannot be set up below.
      if (missing.length > 0)
        await create('dummy').catch(async (error: unknown) => {
          refusalOf(error);
          await create('bridge').catch(refusalOf);
        });
      // A kernel without IPv6 refuses this. If it fails, an interface has a link-local address, which does no harm.
      const quiet = names.map((name) => `link set ${name} addrgenmode none`);
      await ip(quiet, signal, ['-force']).catch(refusalOf);
      await ip(
        names.map((name) => `link set ${name} up`),
        signal,
      );
      await session.close();
    },
    add: async (places, lifetime, signal) => {
      const lines = places.map((place) => `address add ${inWords(place)} ${flagsOf[place.address.family](lifetime)}`);
      try {
        await session.run(lines, signal);
        return new Map();
      } catch (error) {
        const { stderr } = refusalOf(error);
        await ip(lines, signal, ['-force']).catch(refusalOf); // continues after each refused one
        const found = new Map((await readInterfaces(exec, signal)).map((link) => [link.name, link]));
        const refused = places.filter(({ address, on }) => !has(found.get(on), address));
        if (refused.some(({ on }) => !found.has(on))) throw error;
        const [words = ''] = stderr.split('\n');
        return new Map(refused.map(({ address, on }) => [address.text, `${on}: ${words}`]));
      }
    },
    extend: async (places, lifetime, signal) => {
      if (places.length === 0) return;
      const lines = places.map(
        (place) => `address change ${inWords(place)} ${flagsOf[place.address.family](lifetime)}`,
      );
      await ip(lines, signal, ['-force']).catch(refusalOf);
    },
    remove: async (places, links, signal) => {
      if (places.length + links.length === 0) return;
      const lines = places.map((place) => `address delete ${inWords(place)}`);
      try {
        await ip([...lines, ...links.map((name) => `link delete ${name}`)], signal, ['-force']);
      } catch (error) {
        refusalOf(error);
        const left = new Map((await readInterfaces(exec, signal)).map((link) => [link.name, link]));
        const isLeft =
          links.some((name) => left.has(name)) || places.some(({ address, on }) => has(left.get(on), address));
        if (isLeft) throw error; // else all were gone before: the lifetime of an address ends while furiwake is paused
      } finally {
        if (links.length > 0) await session.close();
      }
    },
  };
}

function inWords({ address, on }: PlacedAddress): string {
  return `${address.text}/${bitsOf(address.family)} dev ${on}`;
}

function has(link: NetworkInterface | undefined, { text }: Ip): boolean {
  return link?.addresses.some(({ ip }) => ip.text === text) === true;
}
