/*
 * Runs on the control plane's host: `node churn-services.ts KUBECONFIG NAMESPACE COUNT WORKERS` creates Services, each
 * worker one after the other, and deletes each as soon as it has an address; prints the number of deleted ones each
 * second.
 */
import { connectApi } from './api.ts';
import { createService, inParallel, servicesPath, watchServices } from './services.ts';

const [, , kubeconfig = '', namespace = '', count, workers] = process.argv;
const api = await connectApi(kubeconfig);
const watched = await watchServices(api, namespace);
let done = 0;
const ticker = setInterval(() => process.stdout.write(`${done}\n`), 1_000);
const names = Array.from({ length: Number(count) }, (_, index) => `churn-${index}`);
await inParallel(names, Number(workers), async (name) => {
  await createService(api, namespace, { name });
  await watched.published(name);
  await api.send('DELETE', servicesPath(namespace, name));
  await watched.gone(name);
  done++;
});
clearInterval(ticker);
process.exit();
