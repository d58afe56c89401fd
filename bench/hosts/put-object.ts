/*
 * Runs on the control plane's host: `node put-object.ts KUBECONFIG PATH JSON` replaces an object and prints the times of the request
 * and of its answer ({@link Put}).
 */
import { connectApi } from './api.ts';
import { now } from './services.ts';

/** Times in ms, of the machine's clock. */
export type Put = { readonly sentAt: number; readonly answeredAt: number };

const [, , kubeconfig = '', path = '', object = ''] = process.argv;
const api = await connectApi(kubeconfig);
await api.send('GET', path); // opens the connection
const sentAt = now();
await api.send('PUT', path, JSON.parse(object));
process.stdout.write(JSON.stringify({ sentAt, answeredAt: now() } satisfies Put));
process.exit();
