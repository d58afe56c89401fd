/*
 * Runs on the control plane's host: `node churn-services.ts '{"kubeconfig":…}'` ({@link ChurnOrder}) creates Services, each worker
 * one after the other, and deletes each as soon as it has an address; prints the number of deleted ones each second.
 */
import { connectApi } from './api.ts';
import { createService, inParallel, type ServiceWish, servicesPath, watchServices } from './services.ts';

export type ChurnOrder = {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly count: number;
  readonly workers: number;
  /** Taken in turns. */
  readonly kinds: readonly Pick<ServiceWish, 'annotations' | 'spec'>[];
};

const { kubeconfig, namespace, count, workers, kinds } = JSON.parse(process.argv[2] ?? '') as ChurnOrder;
const api = await connectApi(kubeconfig);
const watched = await watchServices(api, namespace);
let done = 0;
const ticker = setInterval(() => process.stdout.write(`${done}\n`), 1_000);
const wishes = Array.from({ length: count }, (_, index) => ({
  name: `churn-${index}`,
  ...kinds[index % kinds.length],
}));
await inParallel(wishes, workers, async (wish) => {
  await createService(api, namespace, wish);
  await watched.published(wish.name);
  await api.send('DELETE', servicesPath(namespace, wish.name));
  await watched.gone(wish.name);
  done++;
});
clearInterval(ticker);
process.exit();
