/*
 * Runs on the control plane's host: `node create-services.ts '{"kubeconfig":…}'` ({@link Order}) creates Services,
 * waits for their addresses and prints the times ({@link Creation}), in the order of creation.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectApi } from './api.ts';
import { createService, inParallel, type ServiceWish, watchServices } from './services.ts';

export type Order = {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly services: readonly ServiceWish[];
  readonly workers: number;
  /**
   * Wait for the address of each Service, and for this time after it, before the next; otherwise they are created
   * without a pause.
   */
  readonly pauseMs?: number;
};

/** Times in ms, of the machine's clock, which all hosts share. */
export type Creation = {
  readonly name: string;
  /** The request was sent. */
  readonly createdAt: number;
  /** The answer of the API server arrived. */
  readonly answeredAt: number;
  /** The watch delivered an address. */
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
