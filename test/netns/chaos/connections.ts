import { type Target, textOf } from './clients.ts';
import { pause } from './cluster.ts';
import { never } from './fault.ts';
import type { World } from './world.ts';

/** How long after an action a connection may be lost because of it. */
const lossMs = 20_000;
/** How long a connection may last after its Service has gone, or no longer permits its client. */
const survivalMs = 10_000;
/** Without an echo for so long it is over: after an outage of six seconds TCP may send again only 13 s after its begin. */
const silenceMs = 20_000;
/** With an echo in this time it has packets. */
const heardRecentlyMs = 6_000;

type Connection = {
  readonly target: Target;
  readonly id: number;
  readonly sinceMs: number;
  readonly greeting: string;
  said: string;
  heardMs: number;
  /** Since when it should be ended, in sighted time. */
  overMs?: number | undefined;
};

/** One connection to each TCP target, that never ends by itself. */
export function makeConnections(world: World): {
  /** Opens the connection to a target, or says something and reads the echo of before. */
  keep(target: Target): Promise<void>;
  /** Those to former targets must have ended. */
  judge(targets: readonly Target[]): Promise<void>;
} {
  const { client } = world.lab;
  const connections = new Map<string, Connection>();
  const busy = new Set<string>();

  const open = async (target: Target, text: string): Promise<void> => {
    const { ip: address, port } = target;
    const answer = await Promise.race([client.ask({ do: 'dial', address, port }), pause(2_000, never)]);
    if (answer?.id === undefined) return;
    await pause(500, never);
    const { text: greeting = '', end } = await client.ask({ do: 'heard', id: answer.id });
    if (end !== 'open' || !greeting.startsWith(`${target.service} `)) {
      await client.ask({ do: 'hangUp', id: answer.id });
      return;
    }
    const now = performance.now();
    connections.set(text, { target, id: answer.id, sinceMs: now, greeting, said: '', heardMs: now });
  };

  const hangUp = async (text: string, { id }: Connection): Promise<void> => {
    connections.delete(text);
    await client.ask({ do: 'hangUp', id });
  };

  /** Says something, if the echo of before was heard; resolves with why it is over. */
  const talk = async (held: Connection): Promise<string | undefined> => {
    const now = performance.now();
    const heard = await client.ask({ do: 'heard', id: held.id });
    if (heard.end !== 'open') return String(heard.end);
    if (heard.text?.endsWith(held.said) === true) {
      held.heardMs = now;
      held.said = `w${Math.round(now)}.`;
      await client.ask({ do: 'say', id: held.id, text: held.said });
    }
    return now - held.heardMs > silenceMs ? 'is silent' : undefined;
  };

  const keep = async (target: Target, text: string): Promise<void> => {
    const held = connections.get(text);
    if (held === undefined) return await open(target, text);
    const end = await talk(held);
    if (end === undefined) return;
    const now = performance.now();
    const cause = world.touchedWithin(target.service, now - held.heardMs + lossMs, 'connection');
    world.tell(
      `connection of ${text} (${held.greeting.trim()}) ${end} after ${Math.round(now - held.sinceMs)} ms; cause: ${cause ?? 'none'}`,
    );
    if (cause === undefined) world.wrong(`the connection of ${text} (${end}) was lost although nothing touched it`);
    await hangUp(text, held);
  };

  return {
    keep: async (target) => {
      const text = `${target.service} ${textOf(target)}`;
      if (target.protocol !== 'TCP' || busy.has(text)) return;
      busy.add(text);
      await keep(target, text).finally(() => busy.delete(text));
    },
    judge: async (targets) => {
      const now = new Set(targets.map((target) => `${target.service} ${textOf(target)}`));
      for (const [text, held] of connections) {
        const mayLast = now.has(text) && world.permits(held.target);
        if (mayLast || !world.isSighted()) held.overMs = undefined;
        else held.overMs ??= world.sightedMs();
        if (now.has(text) || busy.has(text)) {
          if (held.overMs !== undefined && world.sightedMs() - held.overMs > survivalMs + 5_000)
            world.wrong(`the connection of ${text} lasts though its client is not permitted`);
          continue;
        }
        busy.add(text);
        const end = await talk(held);
        busy.delete(text);
        // Without its address a connection is silent, but not reset.
        const isHeard = performance.now() - held.heardMs < heardRecentlyMs;
        if (end !== undefined) await hangUp(text, held);
        else if (isHeard && held.overMs !== undefined && world.sightedMs() - held.overMs > survivalMs) {
          world.wrong(`the connection of ${text} lasts though its Service has gone`);
          await hangUp(text, held);
        }
      }
    },
  };
}
