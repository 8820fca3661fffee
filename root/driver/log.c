// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypervisor's log as a file: mshv/log in debugfs. The file's offset is the log's own position,
 * a count of bytes since boot, so a reader keeps its place across reads, gets what was logged since,
 * and goes on with the oldest byte that is left if it was too slow.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

static struct dentry *dir;

/* Text from @position on; at the end of the log @out->bytes is 0. */
static int read_at(u64 position, struct hv_output_read_hypervisor_log *out)
{
	struct hv_input_read_hypervisor_log in = { .position = position };
	u64 status = mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_READ_HYPERVISOR_LOG,
		.in = &in, .in_size = sizeof(in), .out = out, .out_size = sizeof(*out),
	});

	if (hv_result(status) == HV_STATUS_INVALID_HYPERCALL_CODE)
		return -EOPNOTSUPP;
	return mshv_errno(status);
}

static ssize_t log_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct hv_output_read_hypervisor_log *out;
	ssize_t ret;

	out = kmalloc(sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	ret = read_at(*pos, out);
	if (ret)
		goto free;
	if (WARN_ON_ONCE(out->bytes > sizeof(out->text))) {
		ret = -EIO;
		goto free;
	}
	ret = min_t(size_t, size, out->bytes);
	if (copy_to_user(buf, out->text, ret))
		ret = -EFAULT;
	else
		*pos = out->next_position - out->bytes + ret;
free:
	kfree(out);
	return ret;
}

static const struct file_operations log_fops = {
	.owner = THIS_MODULE,
	.read = log_read,
	.llseek = default_llseek,
};

/* Without debugfs there is no file, and nothing else is wrong. */
void mshv_log_start(void)
{
	dir = debugfs_create_dir("mshv", NULL);
	debugfs_create_file("log", 0400, dir, NULL, &log_fops);
}

/* No read is under way afterwards. */
void mshv_log_stop(void)
{
	debugfs_remove(dir);
}
