import path from 'node:path';
import type { Stage } from './stage.ts';
import { namespace, nginxService } from './scenario.ts';
import { type ServiceEvent, nextEvent, watchServices } from './service-watch.ts';

/** The times of a Service in ms, measured with kubectl and the client. */
export type Timings = {
  readonly createToAddressMs: number;
  readonly createToFirstByteMs: number;
  readonly deleteToGoneMs: number;
};

const name = 'nginx-timed';
const port = 8080;
const deadlineMs = 60_000;

type ServiceEvents = AsyncIterator<ServiceEvent, void>;

/** Creates a Service and deletes it while watching, with furiwake running; `address` is where it will be served. */
export async function measure({ lab, client, signal: demoSignal }: Stage, address: string): Promise<Timings> {
  const over = new AbortController();
  const signal = AbortSignal.any([demoSignal, over.signal, AbortSignal.timeout(deadlineMs)]);
  const url = `http://${address}:${port}/`;
  const asking = client.lines(['node', path.join(import.meta.dirname, 'first-byte.ts'), url], signal);
  const events = watchServices(lab, namespace, signal);
  try {
    await nextEvent(events, () => true); // the watch starts with the existing Services, so it is active
    await asking.next(); // the client asks
    const [{ createdAt, addressedAt }, answeredAt] = await Promise.all([
      createdAndServed(events),
      asking.next().then(() => performance.now()),
      lab.apply(nginxService(name, port)),
    ]);
    const [deleteToGoneMs] = await Promise.all([
      deletedAndGone(events),
      lab.kubectl('delete', 'service', name, '--namespace', namespace),
    ]);
    return { createToAddressMs: addressedAt - createdAt, createToFirstByteMs: answeredAt - createdAt, deleteToGoneMs };
  } finally {
    over.abort(); // ends the watch and the client's requests
  }
}

async function createdAndServed(events: ServiceEvents): Promise<{ createdAt: number; addressedAt: number }> {
  const created = await nextEvent(events, (event) => event.name === name && event.type === 'ADDED');
  const addressed = await nextEvent(events, (event) => event.name === name && event.addresses.length > 0);
  return { createdAt: created.at, addressedAt: addressed.at };
}

async function deletedAndGone(events: ServiceEvents): Promise<number> {
  const deleted = await nextEvent(events, (event) => event.name === name && event.isDeleting);
  const gone = await nextEvent(events, (event) => event.name === name && event.type === 'DELETED');
  return gone.at - deleted.at;
}
