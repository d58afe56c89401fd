import path from 'node:path';
import type { Lab } from '../lab/lab.ts';
import { type ClientProgram, startOnClient } from './client-program.ts';
import { namespace } from './cluster.ts';
import type { Traffic } from './hosts/traffic.ts';

const streamPort = 9_000;
const requestAddress = '198.18.8.1';
const streamAddress = '198.18.8.2';

/** Two permanent Services: one in front of the echo Pods, one in front of a program on a host of the LAN. */
function services(streamServer: string): string {
  return `apiVersion: v1
kind: Service
metadata: { name: steady, namespace: ${namespace}, annotations: { furiwake.dev/addresses: ${requestAddress} } }
spec: { type: LoadBalancer, selector: { app: echo }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: stream, namespace: ${namespace}, annotations: { furiwake.dev/addresses: ${streamAddress} } }
spec: { type: LoadBalancer, ports: [{ port: ${streamPort} }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: stream, namespace: ${namespace}, labels: { kubernetes.io/service-name: stream } }
addressType: IPv4
ports: [{ port: ${streamPort} }]
endpoints: [{ addresses: [${streamServer}], conditions: { ready: true } }]
`;
}

/** Running traffic; `stop` ends it and returns the results. */
export type SteadyTraffic = ClientProgram<Traffic>;

/** Starts requests and streams from the client behind the router, and resolves when all of them run. */
export async function startTraffic(lab: Lab, signal: AbortSignal): Promise<SteadyTraffic> {
  await lab.apply(services(lab.host('lanclient').ip4));
  const file = path.join(import.meta.dirname, 'hosts', 'stream-server.ts');
  await lab.host('lanclient').spawn('stream-server', [process.execPath, file, String(streamPort)]);
  const args = [`${requestAddress}:80`, `${streamAddress}:${streamPort}`];
  const traffic = await startOnClient<Traffic>(lab, 'traffic', args, signal);
  return {
    stop: traffic.stop,
    [Symbol.asyncDispose]: async () => {
      await traffic[Symbol.asyncDispose]();
      await lab.host('lanclient').stop('stream-server');
    },
  };
}
