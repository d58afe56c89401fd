import { expect } from 'vitest';
import { isReady, passingPod, type Pod } from './backends.ts';
import type { Cluster } from './cluster.ts';
import { eventually } from './eventually.ts';
import { pods } from './names.ts';

/** A kubelet of a busy machine takes its time, which says nothing about furiwake. */
const startMs = 120_000;

/** Creates a {@link passingPod}, and waits until it is Ready. */
export async function startPod(
  cluster: Cluster,
  ...[app, name, nodeName]: Parameters<typeof passingPod>
): Promise<void> {
  await cluster.create(pods, passingPod(app, name, nodeName));
  await eventually(async () => {
    const pod = await cluster.get<Pod>(`${pods}/${name}`);
    expect(isReady(pod), `Pod ${name} is not Ready: ${JSON.stringify(pod.status)}`).toBe(true);
  }, startMs);
}
