/*
 * Runs on the control plane's host: `node delete-services.ts KUBECONFIG NAMESPACE` deletes all Services there and waits
 * until they no longer exist.
 */
import { connectApi, type WireService } from './api.ts';
import { inParallel, servicesPath, watchServices } from './services.ts';

const [, , kubeconfig = '', namespace = ''] = process.argv;
const api = await connectApi(kubeconfig);
const watched = await watchServices(api, namespace);
const { items } = (await api.send('GET', servicesPath(namespace))) as { items: readonly WireService[] };
await inParallel(items, 8, async ({ metadata: { name } }) => {
  await api.send('DELETE', servicesPath(namespace, name));
});
for (const { metadata } of items) await watched.gone(metadata.name);
process.exit();
