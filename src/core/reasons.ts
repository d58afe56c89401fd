/** Where the reason is shown, what it means, and what to do. */
export type ReasonText = { readonly where: string; readonly means: string; readonly do: string };

/**
 * Every reason that a user can see in a condition, an event, `ports[].error` or the log, each with what to do.
 * `docs/reasons.md` is generated from this table (`npm run docs:reasons`).
 */
export const reasons = {
  // condition furiwake.dev/AddressAssigned
  Assigned: {
    where: 'AddressAssigned',
    means:
      'The Service has its address. If it prefers two families and has an address of one, although the pool has both, the message says why.',
    do: 'Nothing.',
  },
  PoolExhausted: {
    where: 'AddressAssigned',
    means:
      'No address in the address pool is free, and none can be shared: a port is in use, or a Service of another namespace does not have the same sharing key.',
    do: 'Add addresses to --addresses, delete a Service, or use another port or sharing key.',
  },
  FamilyUnavailable: {
    where: 'AddressAssigned',
    means: 'The address pool has no address of an IP family that the Service must have.',
    do: 'Add addresses of that family to --addresses, or change spec.ipFamilies / spec.ipFamilyPolicy.',
  },
  AddressNotInPool: {
    where: 'AddressAssigned',
    means: 'The address that the Service requests, or shows in its status, is not in the address pool.',
    do: 'Request an address of the pool, or add this one to --addresses. If furiwake published it while it ran with another --addresses and --state-dir, start it with those again, or release the Services with `furiwake cleanup --cluster`.',
  },
  AddressInUse: {
    where: 'AddressAssigned',
    means:
      'The requested address belongs to a cluster node, the API server or a Service of another load balancer, or the load-balancer host itself needs it (a gateway or DNS server, for example).',
    do: 'Request another address.',
  },
  PortConflict: {
    where: 'AddressAssigned',
    means: 'Another Service has this port of the address. The message names it if it is in the same namespace.',
    do: 'Use another port or address, or delete the other Service: furiwake then assigns the port to this one.',
  },
  SharingNotAllowed: {
    where: 'AddressAssigned',
    means: 'A Service of another namespace has the address, and the two do not have the same sharing key.',
    do: 'Request another address, or set the annotation furiwake.dev/sharing-key to the same value on both Services.',
  },
  PortInUseOnHost: {
    where: 'AddressAssigned',
    means:
      "The address is the load-balancer host's own, and a program there listens on the port, the port is one of --reserved-ports, or the programs that listen there cannot be read at present.",
    do: 'Use another port, give furiwake other addresses (--addresses), or stop the program on the host.',
  },
  ConflictingRequest: {
    where: 'AddressAssigned',
    means:
      'The Service requests different addresses: spec.loadBalancerIP, furiwake.dev/addresses, furiwake.dev/pool and the annotations of other implementations that furiwake reads do not agree. The message names them.',
    do: 'Remove all but one of them. Until then the Service keeps the address it has.',
  },
  PoolUnknown: {
    where: 'AddressAssigned',
    means: 'The Service requests a pool by a name that no pool in --addresses has.',
    do: 'Correct or remove the annotation that the message names, or name a pool: --addresses NAME=192.0.2.8/29. Until then the Service keeps the address it has.',
  },
  InvalidRequest: {
    where: 'AddressAssigned',
    means:
      'The request is not an IP address, has two addresses of one family, or one of a family that the Service does not have.',
    do: 'Write one address, or one IPv4 and one IPv6 address separated by a comma.',
  },
  NotRecorded: {
    where: 'AddressAssigned',
    means: 'The load-balancer host could not record the address, or a new port, on its disk, so it is not used.',
    do: 'Free space in the state directory on the host, or repair its disk. furiwake retries.',
  },
  // condition furiwake.dev/Serving
  Serving: { where: 'Serving', means: 'The load balancer serves every port.', do: 'Nothing.' },
  PartlyServing: {
    where: 'Serving',
    means:
      'Some ports or addresses are served; the message names the others and why, and for ports so does ports[].error.',
    do: 'See the reason of each port. For an address that no node serves, see NoNodes.',
  },
  FieldsNotHonoured: {
    where: 'Serving',
    means:
      'The Service is served, but without what the message names: sessionAffinity (kube-proxy sees the load-balancer host as the only client, so all connections through a node use one Pod; with nat a client keeps its node); the address of clients, where HAProxy serves the Service or stands in for direct; an annotation of another implementation; or an annotation of furiwake that is unknown or not valid.',
    do: 'Nothing, if the Service does not need it. Otherwise do what the message says, or correct the annotation. To make the condition say Serving, set sessionAffinity to None and externalTrafficPolicy to Cluster, or remove the annotation.',
  },
  NotConfirmed: {
    where: 'Serving',
    means:
      'With externalTrafficPolicy: Local, the EndpointSlices say that a node has endpoints of the Service, but kube-proxy there has not confirmed it for ten seconds. The message names the nodes. They get no connections, unless no node of the Service is confirmed.',
    do: 'Check that kube-proxy runs on these nodes, that the load-balancer host can reach the healthCheckNodePort of the Service there, and that nodePortAddresses of kube-proxy includes the address of the node.',
  },
  NodesNotReached: {
    where: 'Serving',
    means:
      'With externalTrafficPolicy: Local, direct sends no new flows to some nodes that have ready endpoints of the Service: a node behind a router, or one whose kube-proxy has not answered on port 10256 for a minute, for example. The message names the nodes and says why. Their Pods get no new connections; those on other nodes serve the Service.',
    do: 'Do what the message says; give the load-balancer host an interface in the LAN of these nodes; if the LAN lets them send with the address as source, but none was seen to, set the annotation furiwake.dev/dataplane: direct, which does not wait for that; run the Pods on other nodes; or set the annotation furiwake.dev/dataplane: haproxy, which also reaches nodes behind a router, but hides the address of the client.',
  },
  EndpointsRefused: {
    where: 'Serving',
    means:
      'EndpointSlices of the Service have addresses that no Pod can have: loopback, link-local, unspecified and multicast addresses; with furiwake.dev/backends: pods also those of the load-balancer host, of Services, and of what the host needs, such as the API server. The message names them. They get no connections, and with externalTrafficPolicy: Local they do not count as endpoints of their nodes.',
    do: 'Correct the EndpointSlices. With furiwake.dev/backends: pods you may also remove the annotation: then kube-proxy decides.',
  },
  NoRouteToPods: {
    where: 'Serving',
    means:
      'With furiwake.dev/backends: pods, the load-balancer host has only its default route to some addresses of Pods, which the message names. If that is so for all Pods, NodePorts serve the Service.',
    do: 'Give the host routes to the Pod CIDRs of the nodes, as each node has them: `ip route add POD-CIDR via NODE`, a routing daemon, or the agent of the CNI plugin on the host. furiwake notices them within a second. Otherwise remove the annotation.',
  },
  NoAddress: {
    where: 'Serving',
    means: 'The Service has no address to be served on.',
    do: 'See the condition furiwake.dev/AddressAssigned.',
  },
  NoNodes: {
    where: 'Serving',
    means:
      'No node can take connections: the cluster has none, or each one is excluded, drained, unhealthy, silent or without an address of the family. With externalTrafficPolicy: Local only nodes with endpoints of the Service count. The health of nodes does not matter for ports with a health check of their own: see NoServers.',
    do: 'Check the nodes, their label node.kubernetes.io/exclude-from-external-load-balancers and their addresses.',
  },
  SettingsWaiting: {
    where: 'Serving',
    means:
      'The port that the message names has new settings that need a reload of HAProxy, and the reload waits or has failed. Meanwhile the former settings apply, or the usual ones if the port is new. Each reload leaves an old worker, which keeps its memory until its last connection ends. So furiwake delays reloads after five in succession, and while eight old workers still have connections (four, if one namespace caused them all; sixteen, for the first reload that a namespace causes). The message says until when.',
    do: 'Wait, or find the Services whose annotations for HAProxy change all the time. `furiwake status` counts the old workers. If the reload failed, read the log of furiwake.',
  },
  HeaderRefused: {
    where: 'Serving',
    means:
      'With furiwake.dev/proxy-protocol, a server of the port that the message names does not accept the header: it closes a connection that begins with it, or answers with an HTTP or TLS error, but keeps a connection without it. furiwake tests this with connections of its own, and repeats the test after a minute.',
    do: 'Configure the Pods to accept the PROXY protocol, also from the addresses of the nodes, or remove the annotation.',
  },
  Drained: {
    where: 'Serving',
    means:
      'An administrator has drained the Service (`furiwake drain NS/NAME`): new connections are refused, and existing ones continue. Ports that direct serves move to HAProxy or nat for that time. A port of direct without a nodePort cannot move, so it is not drained; the message names it. The drain lasts until `furiwake undrain NS/NAME`, even if the Service is deleted and created again.',
    do: 'Nothing, or `furiwake undrain NS/NAME` on the load-balancer host.',
  },
  NoServers: {
    where: 'Serving',
    means:
      'HAProxy closes connections to the address or port that the message names, because no server is usable. The servers have checks of their own (furiwake.dev/health-check or furiwake.dev/backends: pods), and each one fails its check, or its node is drained or silent.',
    do: 'From the load-balancer host, try to connect to the nodePort on the nodes, or with furiwake.dev/backends: pods to the Pods. The check does the same; with furiwake.dev/proxy-protocol it also sends a header.',
  },
  NotForwarding: {
    where: 'Serving',
    means:
      'With the dataplane direct, the host drops the packets, because no node is known to serve the address. A node gets packets if it is in a LAN of the host, and after its kube-proxy has reported on port 10256 a sync that is later than the publication of the address. The message says what each node lacks. HAProxy stands in for TCP ports, unless it cannot be changed; the message says that, too.',
    do: 'Open port 10256 of the nodes to the load-balancer host (k3s binds it to localhost), connect the host to the LAN of the nodes, or give the nodes another gateway than this host. Otherwise use furiwake.dev/dataplane: haproxy, for TCP; for a TCP port without a nodePort furiwake.dev/backends: pods.',
  },
  NoEndpoints: {
    where: 'Serving',
    means:
      'The Service has an address but no ready endpoint, or no ready endpoint has the targetPort of any of its ports. Connections are refused, by the load-balancer host or, with the dataplanes direct and nat, by kube-proxy. If only some ports or one family lack endpoints, the reason is PartlyServing.',
    do: 'Check the Pods that the selector of the Service matches, their readiness probes, and that a targetPort with a name is a named port of their containers.',
  },
  AddressNotOnHost: {
    where: 'Serving',
    means:
      'The load-balancer host does not have the address, so it takes no connections: the host has lost an address of its own, the kernel refuses to add one, or it has removed one at the end of its lifetime, because `ip` hangs or fails. The message says which. The Service keeps the address.',
    do: 'Give the host its address back; furiwake notices it. For an IPv6 address that the kernel refuses, check net.ipv6.conf.*.disable_ipv6 of the interface in the message. If a lifetime has ended, see why `ip` hangs or fails on the host.',
  },
  AnsweredElsewhere: {
    where: 'Serving',
    means:
      'Another machine on the LAN answers for the address, and the Lease says that another host keeps its addresses: furiwake has ended there without cleanup, or is cut off from the API server. HAProxy there still serves the Service, as it was then. So this load-balancer host does not add the address. Or it cannot probe the LAN for the address, and the message quotes the error. A published address stays.',
    do: 'Run `furiwake cleanup` on the host that the message names, or start furiwake there. If the machine with the MAC address in the message is another one, remove the address there. This host serves the address within 10 seconds after the last answer.',
  },
  HaproxyDown: {
    where: 'Serving',
    means:
      'HAProxy takes no connections: it does not run and cannot be started, or it hangs. Or another program shares its port, and takes some of its connections. The message quotes its error. A published address stays. Ports that need no HAProxy are served: those of nat, and those of direct that a node serves.',
    do: 'Run `furiwake check` on the load-balancer host and read its log.',
  },
  HaproxyUnchanged: {
    where: 'Serving',
    means:
      'HAProxy did not take a change, for example because it answers requests and no commands; the message quotes the error. It may serve the Service nevertheless, as before. A published address stays.',
    do: 'Wait: furiwake tries again. If that lasts, check the load of the host, run `furiwake check` there, and read its log.',
  },
  NftablesDown: {
    where: 'Serving',
    means:
      'Another program has changed the nftables table of furiwake (`nft flush ruleset`, for example), and nft cannot restore it. Connections may be refused, or find no server. The message quotes the error of nft. A published address stays.',
    do: 'Make nft work again: run `nft list tables` on the load-balancer host. furiwake tries again at growing intervals, once a minute in the end.',
  },
  DataplaneError: {
    where: 'Serving',
    means: 'HAProxy or the kernel rejected the change; the previous configuration stays active. The message quotes it.',
    do: 'Run `furiwake check` on the load-balancer host and read its log.',
  },
  InvalidSourceRanges: {
    where: 'Serving',
    means:
      'loadBalancerSourceRanges has an entry that is not a CIDR: it matches no client. Or it has no entry for one of the families of the Service, which is closed to all clients of that family.',
    do: 'Correct the entry, or add one for the family.',
  },
  TooManySourceRanges: {
    where: 'Serving',
    means:
      'loadBalancerSourceRanges has more ranges, in the families of the Service, than the 10,000 that one Service may have, or more than older Services leave of the 30,000 for a load-balancer host. The Service is closed to all clients.',
    do: 'Use fewer, wider ranges.',
  },
  TooManyProfiles: {
    where: 'Serving',
    means:
      'The Service requests a combination of furiwake.dev/balance, timeouts and health-check path that no other Service has, and HAProxy already has the maximum of 64 combinations. The Service is served with the usual settings. The message names the most similar combination in use.',
    do: 'Use that combination, or change or delete other Services. Older Services have precedence.',
  },
  TooManyServers: {
    where: 'Serving',
    means:
      'With furiwake.dev/backends: pods each Pod is a server of HAProxy for each port and family. The Service needs more than 4,000 servers, or more than older Services leave of the 20,000 for a load-balancer host. NodePorts serve it instead. A port without a NodePort uses only some of its Pods, the same ones on every load-balancer host: at most 4,000 servers for all such ports, or 100 if the limit of the host is exceeded.',
    do: 'Use fewer ports, or remove the annotation: through NodePorts all Pods get connections. Older Services have precedence.',
  },
  // ports[].error and condition LoadBalancerPortsError
  NodePortMissing: {
    where: 'ports[].error',
    means:
      'The port has no nodePort (allocateLoadBalancerNodePorts: false), which HAProxy and nat need. direct does not need one, but may not serve the Service: an annotation or its default (--default-annotation) requests another dataplane, or the address is that of the host itself.',
    do: 'Set spec.allocateLoadBalancerNodePorts to true, or the annotation furiwake.dev/dataplane to direct, or for TCP furiwake.dev/backends to pods.',
  },
  HaproxyRequired: {
    where: 'ports[].error',
    means:
      'The Service requests the PROXY protocol (furiwake.dev/proxy-protocol) or HTTP mode (furiwake.dev/http-mode) for the port, and with furiwake.dev/dataplane a dataplane that has neither.',
    do: 'Remove one of the two annotations.',
  },
  // events and log
  StatusConflict: {
    where: 'event',
    means:
      'Three times within a minute, another client changed the status that furiwake had written. furiwake stops writing it for ten minutes, or until the spec or the address changes; traffic continues.',
    do: 'Find the other writer (kubectl get service NAME -o yaml --show-managed-fields) and give one of the two another loadBalancerClass.',
  },
  StatusRepaired: {
    where: 'event',
    means: 'Another client changed the status; furiwake restored it.',
    do: 'Nothing, unless it happens again.',
  },
  FinalizersRepaired: {
    where: 'event',
    means:
      'Another client removed the finalizers of furiwake from a Service that furiwake still serves; furiwake added them again. If that repeats, furiwake waits longer each time, up to a minute.',
    do: 'Nothing, unless it happens again: then stop the client that removes them. Without them a deleted Service vanishes while the host still serves it.',
  },
  WriteRefused: {
    where: 'event',
    means:
      'The API server refuses what furiwake writes to the Service, an admission webhook fails, or an admission plugin changes it. furiwake retries.',
    do: 'Look for an admission webhook that does not answer, or a webhook or policy that rejects or changes updates of the status or the finalizers of Services.',
  },
  HeldByAnother: {
    where: 'event',
    means:
      'The Service has no class, and another client, which the message names, wrote its address: furiwake leaves it alone.',
    do: 'To keep its address, first note it in the annotation furiwake.dev/addresses. Then remove the other controller and clear the status; or create the Service again with spec.loadBalancerClass.',
  },
  DuplicateAddress: {
    where: 'event',
    means:
      'Another machine on the LAN answers for the address of the Service, so some clients reach that machine. The message has its MAC address. furiwake announces the address nevertheless.',
    do: 'Remove the address from that machine, or from --addresses. `furiwake check` probes the LAN for all addresses of the pool.',
  },
  NodeWithoutAddress: {
    where: 'event',
    means:
      'The node has neither an InternalIP nor an ExternalIP, or only such that no node can have (loopback, link-local, multicast, …), so it gets no connections.',
    do: 'Give the kubelet a --node-ip, or check the cloud provider of the node.',
  },
} as const;

/** The CamelCase word that a user sees. */
export type Reason = keyof typeof reasons;

/** A reason, and a message with the names and numbers of the case. */
export type Verdict = { readonly reason: Reason; readonly message: string };
