import { type Target, textOf } from './clients.ts';
import { slowness } from './slowness.ts';
import type { World } from './world.ts';

/** How long a flow may be without answers while new flows are answered. */
const stuckMs = 15_000;

/** One UDP flow to each target, from a port that never changes: it sends whether or not the Service is there. */
export function makeFlows(
  world: World,
  judge: (target: Target, answer: string, sentMs: number) => void,
): { send(targets: readonly Target[]): Promise<void> } {
  const { client } = world.lab;
  const ports = new Map<string, number>();
  const busy = new Set<string>();
  const stuck = new Map<string, number>();

  const send = async (target: Target): Promise<void> => {
    const text = textOf(target);
    const localPort = ports.get(text) ?? 20_000 + ports.size;
    ports.set(text, localPort);
    const { ip: address, port } = target;
    const call = { do: 'askUdp', address, port, timeoutMs: 1_000, isConnected: true } as const;
    const sentMs = world.sightedMs();
    const { text: answer = '' } = await client.ask({ ...call, localPort });
    judge(target, answer, sentMs);
    const of = `${target.service} `;
    const isStuck = !answer.startsWith(of) && world.isSighted() && (await client.ask(call)).text?.startsWith(of);
    if (isStuck !== true) return void stuck.delete(text);
    const sinceMs = stuck.get(text) ?? world.sightedMs();
    stuck.set(text, sinceMs);
    if (world.sightedMs() - sinceMs > stuckMs * slowness(5)) {
      world.wrong(`the flow of ${of}${text} has no answers, and new ones have`);
      stuck.delete(text);
    }
  };

  return {
    send: async (targets) => {
      for (const target of targets) {
        const text = textOf(target);
        if (target.protocol !== 'UDP' || busy.has(text)) continue;
        busy.add(text);
        void send(target).finally(() => busy.delete(text));
      }
    },
  };
}
