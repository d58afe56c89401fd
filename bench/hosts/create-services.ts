/*
 * Runs on the control plane's host: `node create-services.ts '{"kubeconfig":…}'` ({@link Order}) creates Services,
 * waits for their addresses and prints what it saw ({@link Creation}), in the order in which they were created.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectApi } from './api.ts';
import { createService, inParallel, type ServiceWish, watchServices } from './services.ts';

export type Order = {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly services: readonly ServiceWish[];
  readonly workers: number;
  /** Wait for each one's address, and so long after it, before the next; else they are created without a pause. */
  readonly pauseMs?: number;
};

/** Moments in ms; of the machine's clock, which all hosts share. */
export type Creation = {
  readonly name: string;
  /** The request left. */
  readonly createdAt: number;
  /** The API server's answer to it was there. */
  readonly answeredAt: number;
  /** The watch told of an address. */
  readonly publishedAt: number;
};

const { kubeconfig, namespace, services, workers, pauseMs } = JSON.parse(process.argv[2] ?? '') as Order;
const api = await connectApi(kubeconfig);
const watched = await watchServices(api, namespace);
const created = new Map<string, Omit<Creation, 'name' | 'publishedAt'>>();
await inParallel(services, workers, async (wish) => {
  created.set(wish.name, await createService(api, namespace, wish));
  if (pauseMs === undefined) return;
  await watched.published(wish.name);
  await sleep(pauseMs);
});
const creations: Creation[] = [];
for (const [name, moments] of created) creations.push({ name, ...moments, publishedAt: await watched.published(name) });
process.stdout.write(JSON.stringify(creations));
process.exit();
