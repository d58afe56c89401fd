import { kubeProxyHealthPort } from '../../core/model/contract.ts';
import type { Node } from '../../core/model/node.ts';
import { type Probe, probeAll } from '../../health/probe.ts';
import { counted, type Finding, named, ok, warning } from './finding.ts';

/**
 * Asks the nodes that get connections: an excluded one is only named. Where kube-proxy's health port is silent or refused
 * on all nodes, furiwake falls back to a probe of its own.
 */
export async function checkNodes(nodes: readonly Node[], probe: Probe, signal: AbortSignal): Promise<Finding> {
  const excluded = nodes.filter((node) => node.excluded !== undefined).map(({ name }) => name);
  const active = nodes.filter((node) => node.excluded === undefined);
  const targets = new Map(active.flatMap((node) => node.addresses).map((address) => [address.text, address]));
  const answers = await probeAll(probe, targets, signal);
  const those = (wanted: string): readonly string[] =>
    [...answers].filter(([, answer]) => answer === wanted).map(([address]) => address);
  const [healthy, alive, silent] = [those('http'), those('alive'), those('silent')];
  if (targets.size === 0)
    return warning(
      excluded.length > 0 && active.length === 0 ? `all are excluded: ${named(excluded)}` : 'none with an address',
      'Services get addresses, and their connections are closed until a node takes them',
    );
  const found = [
    `${healthy.length} of ${counted(targets.size, 'node address', 'node addresses')} healthy on port ${kubeProxyHealthPort}`,
    ...(alive.length > 0 ? [`refused by ${named(alive)}`] : []),
    ...(silent.length > 0 ? [`no answer from ${named(silent)}`] : []),
    ...(excluded.length > 0 ? [`excluded: ${named(excluded)}`] : []),
  ].join('; ');
  if (healthy.length === targets.size) return ok(found);
  if (healthy.length === 0)
    return warning(
      found,
      `open port ${kubeProxyHealthPort} from this host to the nodes (k3s binds it to localhost); without it furiwake only distinguishes silent nodes from the others`,
    );
  return warning(
    found,
    'check these nodes, and the firewalls between them and this host: they get no connections until they answer',
  );
}
