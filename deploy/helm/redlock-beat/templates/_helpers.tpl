{{- define "redlock-beat.labels" -}}
app.kubernetes.io/name: redlock-beat
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redlock-beat.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- /* What all pods have: no root, no rights in the cluster, no HOME and nothing that can be written but /tmp. */ -}}
{{- define "redlock-beat.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.user }}
  runAsGroup: {{ .Values.user }}
  fsGroup: {{ .Values.user }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "redlock-beat.container" -}}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "redlock-beat.env" -}}
- name: {{ .Values.redis.variable }}
  valueFrom:
    secretKeyRef: {name: {{ .Values.redis.secret }}, key: {{ .Values.redis.key }}}
- name: TMPDIR
  value: /tmp
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A probe that costs 4 ms of CPU instead of 100: it reads the heartbeat file without starting Python.
       A line of it: redlock_beat PID BORN TURNED ALLOWED READY; the times are seconds of the clock of /proc/uptime. */ -}}
{{- define "redlock-beat.probe" -}}
exec:
  command:
    - sh
    - -c
    - |
      awk -v now="$(cut -d ' ' -f 1 /proc/uptime)" -v ask="$0" '
        $1 == "redlock_beat" {
          getline stat < ("/proc/" $2 "/stat")
          sub(/.*\) /, "", stat)
          split(stat, words, " ")
          if (words[20] == $3 && now < $4 + $5 && (ask == "alive" || $6 == "ready")) well = 1
        }
        END { exit !well }
      ' {{ .files }}
    - {{ .ask }}
{{- end }}

{{- define "redlock-beat.egress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range .Values.networkPolicy.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
