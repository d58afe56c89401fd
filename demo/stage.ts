import path from 'node:path';
import type { Lab } from '../lab/lab.ts';
import { until } from '../lab/machine/until.ts';
import type { Host } from '../lab/network/host.ts';
import { checkRuns } from '../lab/network/part.ts';
import type { HostStatus } from '../src/daemon/host-status.ts';
import type { Fetched } from './fetch.ts';
import type { Story } from './story.ts';

/** The path of furiwake on the load-balancer host. */
export const furiwakeFile = '/opt/furiwake/furiwake.js';
const bundle = path.join(import.meta.dirname, '..', 'dist', 'furiwake.js');

const askReady = ['curl', '--silent', '--fail', '--max-time', '2', 'http://127.0.0.1:9470/readyz'];

/** The lab with furiwake's host and its client, and the actions of the demo on them. */
export type Stage = {
  readonly lab: Lab;
  readonly balancer: Host;
  readonly client: Host;
  readonly signal: AbortSignal;
  /** Runs a command on a host and prints it as typed there. */
  readonly type: (host: Host, command: readonly string[], shown?: (output: string) => string) => Promise<string>;
  /** Copies the bundled furiwake to its host and runs it there with this kubeconfig; resolves when it is ready. */
  readonly startFuriwake: (kubeconfig: string) => Promise<void>;
  /** The status of furiwake on its host, including HAProxy's counters. */
  readonly status: () => Promise<HostStatus>;
  /** Fetches a page from the client, each time over a new connection. */
  readonly fetch: (url: string, count: number) => Promise<Fetched>;
};

export function makeStage(lab: Lab, story: Story, signal: AbortSignal): Stage {
  const balancer = lab.host('lb1');
  const client = lab.host('client');
  return {
    lab,
    balancer,
    client,
    signal,
    type: async (host, command, shown = (output) => output) => {
      const { stdout, stderr } = await host.exec(command, { signal, timeoutMs: 120_000 });
      story.shell(host.name, typed(command), shown(stdout || stderr));
      return stdout;
    },
    startFuriwake: async (kubeconfig) => {
      await balancer.exec(['install', '-D', bundle, furiwakeFile], { signal });
      const command = [furiwakeFile, 'run', '--kubeconfig', kubeconfig];
      const part = await balancer.spawn('furiwake', command);
      story.shell(balancer.name, `${typed(command)} &`, '');
      const isReady = async (): Promise<boolean> => {
        await checkRuns(lab.folder, part.name);
        return (await balancer.exec(askReady, { signal })).stdout.startsWith('ok');
      };
      await until('furiwake to be ready', isReady, { signal });
    },
    status: async () => {
      const { stdout } = await balancer.exec([furiwakeFile, 'status', '--output', 'json'], { signal });
      return JSON.parse(stdout) as HostStatus;
    },
    fetch: async (url, count) => {
      const script = path.join(import.meta.dirname, 'fetch.ts');
      const { stdout } = await client.exec(['node', script, url, String(count)], { signal, timeoutMs: 300_000 });
      return JSON.parse(stdout) as Fetched;
    },
  };
}

/** A command as typed in a shell. */
function typed(command: readonly string[]): string {
  return command.map((word) => (word === furiwakeFile ? 'furiwake' : word)).join(' ');
}
